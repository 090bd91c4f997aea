// pg-boss beside our own tasks: creates no-op jobs in batches of 100, ten at a time; then as many loops as there
// are workers each fetch one job and complete it, until none is left. It has a connection for each worker.
//
// usage: node pg-boss.mjs URL JOBS WORKERS
import { createRequire } from 'node:module';
import { PgBoss } from 'pg-boss';

const [url, jobs, workers] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const boss = new PgBoss({ connectionString: url, max: workers });
boss.on('error', (error) => { throw error; });
await boss.start();
await boss.createQueue('noop');

const batches = Array.from({ length: jobs / 100 }, () => Array.from({ length: 100 }, () => ({ data: {} })));
const created = await timed(10, async () => {
    for (let batch = batches.pop(); batch; batch = batches.pop()) await boss.insert('noop', batch);
});
let done = 0;
const ended = await timed(workers, async () => {
    for (;;) {
        const [job] = await boss.fetch('noop');
        if (!job) return;
        await boss.complete('noop', job.id);
        done += 1;
    }
});
if (done !== jobs) throw new Error(`${done} of ${jobs} jobs were done`);
await boss.stop({ graceful: false });
const version = createRequire(import.meta.url)('pg-boss/package.json').version;
console.log(JSON.stringify({ version, created_per_second: jobs / created, per_second: jobs / ended }));
process.exit(0);

// How long so many of the same take side by side, in seconds.
async function timed(count, run) {
    const began = performance.now();
    await Promise.all(Array.from({ length: count }, run));
    return (performance.now() - began) / 1000;
}
