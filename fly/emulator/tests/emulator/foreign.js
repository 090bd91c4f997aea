// Drives the emulator with somebody else's client, fly-admin, and ends with an error at the first answer that
// it does not take: node foreign.js URL DIRECTORY-OF-ITS-node_modules
'use strict';
const { createRequire } = require('node:module');
const assert = require('node:assert/strict');

const [url, tools] = process.argv.slice(2);
const { default: Client } = createRequire(`${tools}/`)('fly-admin/dist/client');
const { App, Machine, Volume } = new Client('any', { apiUrl: url });
const app_name = 'foreign';

async function main() {
    await App.createApp({ app_name, org_slug: 'personal' });
    await App.deleteApp(app_name);
    await assert.rejects(App.getApp(app_name), /404/);
    await App.createApp({ app_name, org_slug: 'personal' });
    assert.equal((await App.listApps('personal')).total_apps, 1);
    assert.equal((await App.getApp(app_name)).name, app_name);

    const volume = await Volume.createVolume({ app_name, name: 'data', region: 'iad', size_gb: 1 });
    const its = { app_name, volume_id: volume.id };
    assert.equal((await Volume.listVolumes(app_name)).length, 1);
    assert.equal((await Volume.extendVolume({ ...its, size_gb: 2 })).volume.size_gb, 2);
    assert.equal((await Volume.getVolume(its)).size_gb, 2);
    assert.deepEqual(await Volume.listSnapshots(its), []);

    const config = {
        image: 'example/image:1',
        init: { exec: ['sh', '-c', 'exec sleep 1000'] },
        env: { A: 'b' },
        guest: { cpu_kind: 'shared', cpus: 1, memory_mb: 256 },
        mounts: [{ volume: volume.id, path: '/data' }],
        restart: { policy: 'no' },
        services: [{ internal_port: 8080, protocol: 'tcp', ports: [{ port: 443, handlers: ['tls', 'http'] }] }],
        checks: { up: { type: 'http', port: 8080, method: 'GET', path: '/', interval: '15s', timeout: '10s' } },
    };
    const machine = await Machine.createMachine({ app_name, name: 'one', region: 'iad', config });
    const one = { app_name, machine_id: machine.id };
    const until = (state) => Machine.waitMachine({ ...one, state, timeout: '20s' });
    await until('started');
    assert.equal((await Machine.getMachine(one)).state, 'started');
    assert.equal((await Machine.listMachines({ app_name, region: 'iad' })).length, 1);
    assert.equal((await Machine.listEvents(one)).at(-1).type, 'launch');
    assert.equal((await Machine.listVersions(one)).length, 1);
    assert.equal((await Machine.listProcesses({ ...one, sort_by: 'pid' }))[0].command, 'sleep 1000');
    await Machine.cordonMachine(one);
    await Machine.uncordonMachine(one);

    await Machine.signalMachine({ ...one, signal: 'SIGTERM' });
    await until('stopped');
    await Machine.startMachine(one);
    await until('started');
    await Machine.updateMachine({ ...one, config: { ...config, env: { A: 'c' } } });
    await until('started');
    await Machine.restartMachine({ ...one, timeout: '3s' });
    await until('started');
    await Machine.stopMachine({ ...one, timeout: '2s' });
    await until('stopped');

    const taken = await Machine.acquireLease({ ...one, ttl: 60 });
    assert.equal((await Machine.getLease(one)).data.nonce, taken.data.nonce);
    await assert.rejects(Machine.deleteMachine({ ...one, force: true }), /409: .*lease currently held by/);
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
