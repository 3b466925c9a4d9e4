// kafkajs as a command; see README.md for what each action prints.
'use strict';
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');

const [action, address, topic, ...rest] = process.argv.slice(2);
const kafka = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING, retry: { retries: 20 } });
const TIME_BASE = 1700000000000;

const value = (n) => Buffer.from(`${n}:`.repeat(150).slice(0, 100 + (n % 50)));

const table = Array.from({ length: 256 }, (_, n) => {
  for (let i = 0; i < 8; i++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});
const crc32 = (bytes) => (bytes.reduce((c, b) => table[(c ^ b) & 255] ^ (c >>> 8), ~0 >>> 0) ^ ~0) >>> 0;

const show = (partition, m) => console.log(partition, m.offset, String(m.key), crc32(m.value));

async function produce(codec, idempotent, first, count) {
  if (codec !== 'none' && codec !== 'gzip') throw new Error(`kafkajs brings no ${codec}`);
  const producer = kafka.producer({ idempotent: idempotent === '1', maxInFlightRequests: 1 });
  await producer.connect();
  const compression = codec === 'gzip' ? CompressionTypes.GZIP : CompressionTypes.None;
  for (let n = Number(first); n < Number(first) + Number(count); n += 10) {
    const messages = [];
    for (let i = n; i < Math.min(n + 10, Number(first) + Number(count)); i++) {
      messages.push({ key: `k${i}`, value: value(i), partition: 0, timestamp: String(TIME_BASE + i), headers: { n: `${i}` } });
    }
    const [{ baseOffset }] = await producer.send({ topic, acks: -1, compression, messages });
    messages.forEach((_, i) => console.log(Number(baseOffset) + i));
  }
  await producer.disconnect();
}

async function take(name, count, commit) {
  const consumer = kafka.consumer({ groupId: name, sessionTimeout: 6000, heartbeatInterval: 500 });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  let left = Number(count);
  await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${left} records are missing after 30 s`)), 30000);
    consumer.run({
      autoCommit: false,
      eachMessage: async ({ partition, message }) => {
        if (left <= 0) return;
        show(partition, message);
        left -= 1;
        if (left === 0) {
          if (commit) await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1) }]);
          clearTimeout(timer);
          resolve();
        }
      },
    });
  });
  await consumer.disconnect();
}

async function member(name) {
  const consumer = kafka.consumer({ groupId: name, sessionTimeout: 6000, heartbeatInterval: 500 });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) =>
    console.log('assigned', (payload.memberAssignment[topic] || []).sort((a, b) => a - b).join(',')));
  process.on('SIGTERM', () => consumer.disconnect().then(() => process.exit(0)));
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      show(partition, message);
      await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1) }]);
    },
  });
}

async function admin() {
  const client = kafka.admin();
  await client.connect();
  const partitions = async () => (await client.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length;
  await client.createTopics({ topics: [{ topic, numPartitions: 3, replicationFactor: 1 }] });
  console.log('created', await partitions());
  await client.createPartitions({ topicPartitions: [{ topic, count: 5 }] });
  console.log('grown', await partitions());
  await client.deleteTopics({ topics: [topic] });
  console.log('deleted', (await client.listTopics()).includes(topic) ? 'True' : 'False');
  await client.disconnect();
}

const actions = { produce, member, admin, group: (name, count) => take(name, count, true) };
actions[action](...rest).catch((error) => {
  console.error(error);
  process.exit(1);
});
