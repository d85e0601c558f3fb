// Makes the aggregates of this folder with aws-kinesis-agg, a library that is not ours: <case>.bin is what it writes of
// the records of <case>.json, and it must read the same records from that again. Our writer must make the same bytes,
// so that what it reads of its own it reads of ours, and our reader must read the same records.
//
//   node make.mjs            writes the files
//   node make.mjs --check    exit 1 if a committed file differs

import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import kpl from "aws-kinesis-agg";

const folder = dirname(fileURLToPath(import.meta.url));
const check = process.argv.includes("--check");

/** A sequence of numbers from 0 up to 1 that is the same on every run. */
function seeded(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const record = (partitionKey, data, explicitHashKey) => ({ partitionKey, data: Buffer.from(data), explicitHashKey });
const numbers = (length) => Array.from({ length }, (_, index) => index);

// Keys that are whole numbers are left out: the library keeps its tables as properties of an object, JavaScript puts
// such properties in the order of the numbers, and its records then have each other's keys.
function mixed(seed) {
  const random = seeded(seed);
  const upTo = (most) => Math.floor(random() * most);
  return numbers(1 + upTo(120)).map(() => {
    const data = numbers(upTo(200)).map(() => upTo(256));
    const hashKey = random() < 0.5 ? `${2n ** BigInt(64 + upTo(64)) - BigInt(1 + upTo(9))}` : undefined;
    return record(`sensor-${upTo(40)}`, data, hashKey);
  });
}

const cases = {
  "one-record": [record("sensor-1", '{"sensor_id":"sensor-1"}')],
  "one-key-for-all": numbers(5).map((index) => record("sensor-1", `{"reading":${index}}`)),
  "a-key-for-each": numbers(5).map((index) => record(`sensor-${index}`, `{"reading":${index}}`)),
  "hash-keys-for-some": numbers(6).map((index) =>
    record(`sensor-${index % 2}`, `{"reading":${index}}`, index % 3 ? `${2n ** 128n - BigInt(index)}` : undefined)),
  "empty-and-binary-data": [record("a", []), record("b", numbers(256)), record("a", [0xf3, 0x89, 0x9a, 0xc2])],
  "keys-beyond-ascii": [record("Zürich", "{}"), record("水位", "{}"), record("🌊", "{}"), record(" ", "{}")],
  "long-numbers": [...numbers(300).map((index) => record(`k${index}`, "{}")), record("long", "x".repeat(20_000))],
  ...Object.fromEntries([1, 2, 3, 4].map((seed) => [`mixed-${seed}`, mixed(seed)])),
};

function aggregate(records) {
  const aggregator = new kpl.RecordAggregator();
  records.forEach((one) => aggregator.addUserRecord(one));
  let data;
  aggregator.flushBufferedRecords((error, encoded) => {
    if (error) throw error;
    data = encoded.data;
  });
  return data;
}

// The library takes an explicit hash key that is absent for the first of the table: where none was given, what it reads
// is not compared.
function isReadBack(records, data) {
  let read;
  kpl.deaggregateSync({ data: data.toString("base64"), sequenceNumber: "1" }, true, (error, found) => {
    if (error) throw error;
    read = found;
  });
  return read.length === records.length && records.every((one, index) =>
    one.partitionKey === read[index].partitionKey && one.data.toString("base64") === read[index].data &&
    (one.explicitHashKey === undefined || one.explicitHashKey === read[index].explicitPartitionKey));
}

const line = ({ partitionKey, explicitHashKey, data }) => JSON.stringify(
  { partition_key: partitionKey, explicit_hash_key: explicitHashKey, data_base64: data.toString("base64") });

const files = Object.entries(cases).flatMap(([name, records]) => {
  const data = aggregate(records);
  if (!isReadBack(records, data)) throw new Error(`${name} is read as something else than was written`);
  return [[`${name}.bin`, data], [`${name}.json`, Buffer.from(`[\n${records.map(line).join(",\n")}\n]\n`)]];
});

if (check) {
  const names = files.map(([name]) => name);
  const strangers = readdirSync(folder).filter((name) => /\.bin$|^(?!package).*\.json$/.test(name) && !names.includes(name));
  const differ = files.filter(([name, bytes]) => !existsSync(join(folder, name)) || !readFileSync(join(folder, name)).equals(bytes));
  const faults = [...strangers, ...differ.map(([name]) => name)];
  if (faults.length > 0) {
    console.error(`not as made: ${faults.join(", ")}`);
    process.exit(1);
  }
  console.log(`${files.length} files are as aws-kinesis-agg writes and reads them`);
} else {
  files.forEach(([name, bytes]) => writeFileSync(join(folder, name), bytes));
}
