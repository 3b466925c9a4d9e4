// npm's redis and ioredis as a command; see README.md for what each action prints.
'use strict';
const [action, address, key, library] = process.argv.slice(2);
const [host, port] = address.split(':');
const COUNT = 48;
const numbers = Array.from({ length: COUNT }, (_, i) => i + 1);
const whole = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

// What the two have in common: commands as lists of words, answers as they come.
async function nodeRedis() {
  const { createClient, RESP_TYPES } = require('redis');
  const client = await createClient({ socket: { host, port: Number(port) }, RESP: 3 }).connect();
  const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  return {
    call: (...words) => client.sendCommand(words.map((word) => (Buffer.isBuffer(word) ? word : String(word)))),
    callBuffer: (...words) => buffers.sendCommand(words.map((word) => String(word))),
    add: (id, value) => client.xAdd(key, id, { value }),
    range: async () => (await client.xRange(key, '-', '+')).map((e) => [e.id, e.message.value]),
    read: async (stream) => stream[0].messages.map((e) => [e.id, e.message.value]),
    block: () => client.xRead({ key, id: '99-0' }, { BLOCK: 30000 }),
    group: () => client.xReadGroup('g', 'me', { key, id: '>' }, { COUNT: 3 }),
    quit: () => client.quit(),
  };
}

async function ioRedis() {
  const Redis = require('ioredis');
  const client = new Redis(Number(port), host, { maxRetriesPerRequest: 1 });
  const pairs = (entries) => entries.map(([id, fields]) => [id, fields[fields.indexOf('value') + 1]]);
  return {
    call: (...words) => client.call(...words),
    callBuffer: (...words) => client.callBuffer(...words),
    add: (id, value) => client.xadd(key, id, 'value', value),
    range: async () => pairs(await client.xrange(key, '-', '+')),
    read: async (streams) => pairs(Array.isArray(streams) ? streams[0][1] : streams[key]),
    block: () => client.xread('BLOCK', 30000, 'STREAMS', key, '99-0'),
    group: () => client.xreadgroup('GROUP', 'g', 'me', 'COUNT', 3, 'STREAMS', key, '>'),
    quit: () => client.quit(),
  };
}

const show = (entries) => entries.forEach(([id, value]) => console.log(id, value));

const actions = {
  connect: async (r) => console.log(await r.call('PING')),
  write: async (r) => { for (const n of numbers) console.log(await r.add(`${n}-1`, `v${n}`)); },
  pipeline: async (r) => (await Promise.all(numbers.map((n) => r.add(`${n}-1`, `v${n}`)))).forEach((id) => console.log(id)),
  range: async (r) => show(await r.range()),
  block: async (r) => show(await r.read(await r.block())),
  trim: async (r) => { await r.call('XTRIM', key, 'MAXLEN', 5); console.log(await r.call('XLEN', key)); },
  admin: async (r) => {
    const info = await r.call('INFO');
    const stream = await r.call('XINFO', 'STREAM', key);
    const length = Array.isArray(stream) ? stream[1] : stream.length;
    console.log(/server_name:(\w+)/.exec(info)[1], await r.call('TYPE', key), length, await r.call('DEL', key),
      await r.call('EXISTS', key));
  },
  binary: async (r) => {
    await r.add('1-1', whole);
    const [[, [, value]]] = await r.callBuffer('XRANGE', key, '-', '+');
    console.log(value.toString('hex'));
  },
  groups: async (r) => {
    await r.call('XGROUP', 'CREATE', key, 'g', '0');
    show(await r.read(await r.group()));
    console.log('pending', (await r.call('XPENDING', key, 'g'))[0]);
    console.log('acked', await r.call('XACK', key, 'g', '1-1', '2-1', '3-1'));
    console.log('pending', (await r.call('XPENDING', key, 'g'))[0]);
  },
};

(async () => {
  const r = await (library === 'ioredis' ? ioRedis() : nodeRedis());
  await actions[action](r);
  await r.quit();
})().catch((e) => { console.error(e); process.exit(1); });
