"""Parquet files as hub data sets hold them, written by pyarrow: nested messages, int64, nulls, codecs, row groups.

Run: python test/golden/generators/data_parquet.py   (writes test/data/files/parquet/)
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OUTPUT = Path(__file__).resolve().parents[2] / "data" / "files" / "parquet"


def messages(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def preference_rows(count=23):
    rows = []
    for index in range(count):
        chosen = messages(f"question {index} é 日本", f"good answer {index}")
        rejected = messages(f"question {index} é 日本", f"bad answer {index}")
        rows.append({"id": index + (2**53 if index == 5 else 0), "prompt": f"question {index}", "chosen": chosen, "rejected": rejected})
    rows[3]["chosen"] = None
    rows[4]["chosen"] = []
    rows[6]["rejected"] = rows[6]["chosen"]
    rows[7]["rejected"][1]["content"] = None
    return rows


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    schema = pa.schema([("id", pa.int64()), ("prompt", pa.string()), ("chosen", pa.list_(message)), ("rejected", pa.list_(message))])
    rows = preference_rows()
    table = pa.Table.from_pylist(rows, schema=schema)
    for codec in ("none", "snappy", "gzip", "zstd", "brotli", "lz4"):
        pq.write_table(table, OUTPUT / f"preferences-{codec}.parquet", compression=codec, row_group_size=9)
    pq.write_table(table, OUTPUT / "preferences-v1.parquet", version="1.0", data_page_version="1.0", use_dictionary=False)
    pq.write_table(table, OUTPUT / "preferences-v2.parquet", data_page_version="2.0", compression="zstd", row_group_size=9)
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), OUTPUT / "no-rows.parquet")
    imdb = {"text": ["A <br /> review", "", None, "Another one"], "label": [0, 1, 0, 1]}
    pq.write_table(pa.table(imdb), OUTPUT / "imdb.parquet")
    rows[5]["id"] = str(rows[5]["id"])  # JSON has no 64-bit integers; the test compares this one as text
    (OUTPUT / "preferences.json").write_text(json.dumps(rows, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
