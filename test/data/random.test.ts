import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { deriveSeed, philox4x32, Random } from '../../ts/data/random.js'

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, '0'))

describe('Random', () => {
  // Known answers of the Random123 distribution (kat_vectors, philox4x32 10).
  test('Philox matches its published known answers', () => {
    const out = new Uint32Array(4)
    philox4x32(0, 0, 0, 0, [0, 0], out)
    expect(hex(out)).toEqual(['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8'])
    const ones = 0xffffffff
    philox4x32(ones, ones, ones, ones, [ones, ones], out)
    expect(hex(out)).toEqual(['408f276d', '41c83b0e', 'a20bc7c6', '6d5451fd'])
    philox4x32(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, [0xa4093822, 0x299f31d0], out)
    expect(hex(out)).toEqual(['d16cfe09', '94fdcceb', '5001e420', '24126ea1'])
  })

  test('a stream depends on its labels alone and is fixed for good', () => {
    const first = Random.from(7, 'policy', 3)
    const drawn = [first.word(), first.word(), first.word(), first.word(), first.word()]
    expect(Random.from(7, 'policy').split(3).word()).toBe(drawn[0])
    expect(Random.from(7, 'policy', '3').word()).not.toBe(drawn[0])
    expect(Random.from(7, 'policy3').word()).not.toBe(drawn[0])
    expect(Random.from(8, 'policy', 3).word()).not.toBe(drawn[0])
    expect(Random.from(7, 'policy', 3).at(4).word()).toBe(drawn[4])
    expect(first.position).toBe(5)
  })

  test('uniform, normal and integer have their moments', () => {
    const random = Random.from(1, 'moments')
    const count = 40_000
    const uniforms = Array.from({ length: count }, () => random.uniform())
    const normals = Array.from({ length: count }, () => random.normal(2, 3))
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
    expect(Math.abs(mean(uniforms) - 0.5)).toBeLessThan(0.01)
    expect(Math.min(...uniforms)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...uniforms)).toBeLessThan(1)
    const center = mean(normals)
    expect(Math.abs(center - 2)).toBeLessThan(0.06)
    expect(Math.abs(Math.sqrt(mean(normals.map((value) => (value - center) ** 2))) - 3)).toBeLessThan(0.06)
    const draws = Array.from({ length: 30_000 }, () => random.integer(3))
    const counts = [0, 1, 2].map((value) => draws.filter((drawn) => drawn === value).length)
    for (const times of counts) expect(Math.abs(times - 10_000)).toBeLessThan(400)
  })

  test('shuffle keeps the items, and is the same for the same labels', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.integer(), (items, seed) => {
        const once = Random.from(seed, 'order').shuffle([...items])
        expect(Random.from(seed, 'order').shuffle([...items])).toEqual(once)
        expect([...once].sort()).toEqual([...items].sort())
      }),
    )
    expect([...Random.from(1).permutation(50)]).not.toEqual([...Random.from(2).permutation(50)])
  })

  test('choice draws by weight and never an item of weight zero', () => {
    const random = Random.from(3, 'choice')
    const counts = { a: 0, b: 0, c: 0 }
    for (let draw = 0; draw < 10_000; draw++) counts[random.choice(['a', 'b', 'c'] as const, [1, 3, 0])]++
    expect(counts.c).toBe(0)
    expect(Math.abs(counts.b - 7500)).toBeLessThan(300)
  })

  test('what has no answer is refused', () => {
    expect(() => Random.from(Number.NaN)).toThrow(RangeError)
    expect(() => Random.from(1).integer(0)).toThrow(RangeError)
    expect(() => Random.from(1).choice([])).toThrow(RangeError)
    expect(() => Random.from(1).choice([1], [0])).toThrow(RangeError)
  })

  test('derived seeds are safe integers and differ by label', () => {
    expect(Number.isSafeInteger(deriveSeed(1, 'a'))).toBe(true)
    expect(deriveSeed(1, 'a')).not.toBe(deriveSeed(1, 'b'))
  })
})
