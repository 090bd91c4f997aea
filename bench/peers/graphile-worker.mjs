// graphile-worker beside our own tasks, at its stock settings but for the concurrency: creates no-op jobs in batches
// of 100, ten at a time; then runs them until none is left.
//
// usage: node graphile-worker.mjs URL JOBS WORKERS
import { readFileSync } from 'node:fs';
import { Logger, makeWorkerUtils, run } from 'graphile-worker';

const [url, jobs, workers] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const logger = new Logger(() => () => {});
const utils = await makeWorkerUtils({ connectionString: url, logger });
await utils.migrate();

const batch = Array.from({ length: 100 }, () => ({ identifier: 'noop', payload: {} }));
let left = jobs / 100;
let began = performance.now();
await Promise.all(Array.from({ length: 10 }, async () => {
    while (left-- > 0) await utils.addJobs(batch);
}));
const created = (performance.now() - began) / 1000;

let done = 0;
let tell;
const all = new Promise((resolve) => { tell = resolve; });
began = performance.now();
const runner = await run({
    connectionString: url,
    concurrency: workers,
    logger,
    noHandleSignals: true,
    taskList: { noop: () => {} },
});
// Counted when it is off the table, not when its function has returned.
runner.events.on('job:complete', () => { if (++done === jobs) tell(); });
await all;
const ended = (performance.now() - began) / 1000;
await runner.stop();
await utils.release();
const version = JSON.parse(readFileSync(new URL('../package.json', import.meta.resolve('graphile-worker')))).version;
console.log(JSON.stringify({ version, created_per_second: jobs / created, per_second: jobs / ended }));
process.exit(0);
