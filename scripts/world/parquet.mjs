/** Parquet in the shapes of the hub's files. */
import { parquetWriteBuffer } from 'hyparquet-writer'

const optional = { repetition_type: 'OPTIONAL' }
const text = (name) => ({ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', ...optional })
const long = (name) => ({ name, type: 'INT64', ...optional })
/** list<struct<content, role>>, as `datasets` writes a conversation. */
const conversation = (name) => [
  { name, num_children: 1, converted_type: 'LIST', ...optional },
  { name: 'list', num_children: 1, repetition_type: 'REPEATED' },
  { name: 'element', num_children: 2, ...optional },
  text('content'),
  text('role'),
]

export const SHAPES = {
  /** stanfordnlp/imdb */
  reviews: [text('text'), long('label')],
  /** weqweasdas/preference_dataset_mix2 */
  preferences: [...conversation('chosen'), ...conversation('rejected')],
  /** allenai/reward-bench */
  rewardBench: [
    text('prompt'),
    text('chosen'),
    text('chosen_model'),
    text('rejected'),
    text('rejected_model'),
    text('subset'),
    long('id'),
  ],
  /** allenai/pref-test-sets */
  priorSets: [...conversation('prompt'), text('chosen'), text('rejected'), text('subset'), long('id')],
}

export function toParquet(rows, shape) {
  const names = Object.keys(rows[0])
  const columnData = names.map((name) => ({
    name,
    data: rows.map((row) => (typeof row[name] === 'number' ? BigInt(row[name]) : row[name])),
  }))
  const schema = [{ name: 'root', num_children: names.length }, ...shape]
  return Buffer.from(parquetWriteBuffer({ columnData, schema, rowGroupSize: 2000, createdBy: 'prudent sample data' }))
}
