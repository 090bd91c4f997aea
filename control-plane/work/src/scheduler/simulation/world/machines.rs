//! What happens to machines: the steps of each row, the ladder, the comparison with
//! the provider, and hosts that fail.

use super::super::fly::lists::Listed;
use super::*;

impl World {
    pub(super) fn accrue_all(&mut self) {
        for row in self.open.clone() {
            self.accrue(row);
        }
    }

    /// The ledger: awake from the moment it was made or woken until it was seen asleep, and what it stores.
    pub(super) fn accrue(&mut self, row: usize) {
        let known = &self.rows[row];
        let machine = match known.state {
            State::Destroyed => 0,
            _ if known.machine.is_none() && known.former.is_none() => 0,
            State::Suspended => PRICES.asleep,
            _ => PRICES.awake,
        };
        let replaced = known.old_volumes.iter().filter(|old| old.id.is_some()).count();
        let volumes = known.volume.iter().len() + replaced;
        let from = std::mem::replace(&mut self.accrued_until[row], self.now);
        self.ledger.add(from, self.now, machine + volumes as u64 * PRICES.volume);
    }

    pub(super) fn shift_from(&mut self, id: MachineId, from: State, to: State) {
        let row = index(id.uuid());
        if self.rows[row].state == from {
            self.shift(row, to);
        }
    }

    pub(super) fn shift(&mut self, row: usize, to: State) {
        self.accrue(row);
        let now = self.now;
        let known = &mut self.rows[row];
        (known.state, known.since, known.next_try, known.failures) = (to, now, now, 0);
        (known.restarts, known.report_by, known.stuck) = (0, None, 0);
        if to == State::Resuming {
            known.rests_until = 0;
        }
        match to {
            State::Ready | State::Suspended => {
                known.rung = Rung::Look;
                self.plan_soon(200);
            }
            State::Starting | State::Destroying => self.lose_work(row),
            State::Draining => self.at(now + 2 * SECOND, Event::Saved(row)),
            State::Destroyed => self.plan_soon(200),
            State::Creating | State::Suspending | State::Resuming => (),
        }
        self.at(now, Event::Step(row));
        if to == State::Suspended {
            // A lease runs out while its worker sleeps.
            self.lose_work(row);
            self.plan_soon(DESTROY_AFTER);
        }
    }

    pub(super) fn make_anew(&mut self, row: usize, disk: Disk, region: usize, rung: Rung) {
        self.accrue(row);
        self.lose_work(row);
        let new_name = (disk != Disk::Keep).then(|| self.new_volume());
        let known = &mut self.rows[row];
        known.former = known.machine.take().or(known.former);
        if let Some(new_name) = new_name {
            let name = std::mem::replace(&mut known.volume_name, new_name);
            known.old_volumes.push(Released { id: known.volume.take(), name, since: self.now });
        }
        let keep = Row {
            volume: known.volume,
            volume_name: known.volume_name,
            former: known.former,
            old_volumes: std::mem::take(&mut known.old_volumes),
            generation: known.generation + 1,
            rung,
            is_retiring: known.is_retiring,
            repository: known.repository.take().filter(|_| disk != Disk::New),
            in_flight: known.in_flight,
            granted: known.granted,
            heard_boot: known.heard_boot,
            is_used: known.is_used && disk != Disk::New,
            refusals: known.refusals,
            ..Row::new(region, self.now)
        };
        self.rows[row] = keep;
        self.at(self.now, Event::Step(row));
    }

    pub(super) fn climb(&mut self, row: usize, trouble: Trouble) {
        let here = self.rows[row].region;
        self.seen.made_anew += 1;
        if let Trouble::Region(shortage) = trouble {
            let times = self.rests.get(&here).map_or(0, |(_, times)| *times) + 1;
            let rest = u64::try_from(shortage.rest(times).num_milliseconds()).expect("positive");
            if self.rests.get(&here).is_none_or(|(until, _)| *until <= self.now) {
                self.rests.insert(here, (self.now + rest, times));
                self.plan_soon(rest + SECOND);
            }
        }
        let rests = self.resting();
        let name = region_name(here);
        let other = order::choose(&regions(), &rests, time(self.now), Some(&name)).map(region_number);
        let known = &self.rows[row];
        let case = Case {
            state: known.state,
            rung: known.rung,
            has_volume: known.volume.is_some(),
            is_used: known.is_used,
            has_other_region: other.is_some(),
            has_former_image: false,
            is_disk_paid_for: self.pays_for_disk(),
        };
        match (recovery::remedy(trouble, case), other) {
            (Remedy::FormerImage, _) => unreachable!("there is one image"),
            (Remedy::Wait, _) => self.wait(row),
            (Remedy::Recreate(disk), _) => self.make_anew(row, disk, here, Rung::Recreate),
            (Remedy::OtherRegion, Some(other)) => {
                let rung = if matches!(trouble, Trouble::Region(_)) { known.rung } else { Rung::OtherRegion };
                self.make_anew(row, Disk::New, other, rung);
            }
            (Remedy::OtherRegion, None) | (Remedy::GiveUp, _) => self.give_up(row),
        }
    }

    /// It sleeps on, or waits with its disk, and is asked for when it and its region have rested.
    fn wait(&mut self, row: usize) {
        let of_region = self.rests.get(&self.rows[row].region).map_or(0, |(until, _)| *until);
        let known = &mut self.rows[row];
        known.refusals += 1;
        known.failures = 0;
        let rest = ((30 * SECOND) << (known.refusals - 1).min(7)).min(HOUR);
        let until = of_region.max(self.now + rest);
        known.rests_until = until;
        match known.state {
            State::Creating => self.later(row, until - self.now),
            _ => self.shift(row, State::Suspending),
        }
        self.plan_soon(until - self.now + SECOND);
    }

    pub(super) fn give_up(&mut self, row: usize) {
        self.seen.given_up += 1;
        let count = self.given_up.filter(|(_, last)| last + 10 * MINUTE > self.now).map_or(0, |(count, _)| count);
        self.given_up = Some((count + 1, self.now));
        self.shift(row, State::Destroying);
        self.plan_soon(5 * MINUTE);
    }

    /// When a step is due, its call waits for its turn.
    pub(super) fn step(&mut self, row: usize) {
        let known = &self.rows[row];
        let needs = matches!(
            known.state,
            State::Creating | State::Starting | State::Resuming | State::Suspending | State::Destroying
        );
        if !needs || known.in_flight {
            return;
        }
        if known.next_try > self.now {
            return self.at(known.next_try, Event::Step(row));
        }
        let arrives = match self.first_call(row) {
            Some((action, subject)) => self.turn(action, subject),
            None => self.now,
        };
        self.rows[row].granted = self.first_call(row);
        self.rows[row].in_flight = true;
        self.at(arrives, Event::Call(row));
    }

    /// What a step begins with.
    fn first_call(&self, row: usize) -> Option<(Action, usize)> {
        let known = &self.rows[row];
        let machine = || known.machine.unwrap_or(OF_APP);
        match known.state {
            State::Creating if known.former.is_some() => Some((Action::DestroyMachine, known.former?)),
            State::Creating if known.volume.is_none() => Some((Action::ListVolumes, OF_APP)),
            State::Creating => Some((Action::CreateMachine, OF_APP)),
            State::Destroying if known.machine.is_none() => Some((Action::ListMachines, OF_APP)),
            State::Destroying => Some((Action::DestroyMachine, machine())),
            State::Resuming if known.is_first_look() => Some((Action::Start, machine())),
            State::Suspending if known.is_retiring => None,
            _ => Some((Action::ReadMachine, machine())),
        }
    }

    /// When a call of a step reaches Fly: now, if it had its turn.
    fn ask(&mut self, row: usize, action: Action, subject: usize) -> Millis {
        match self.rows[row].granted.take_if(|granted| *granted == (action, subject)) {
            Some(_) => self.now,
            None => self.turn(action, subject),
        }
    }

    /// When a call reaches Fly for which the client has to wait.
    pub(super) fn turn(&mut self, action: Action, subject: usize) -> Millis {
        if matches!(action, Action::ListMachines | Action::ListVolumes) {
            self.compare_meanwhile(action);
        }
        self.turn_at(action, subject, self.now)
    }

    fn turn_at(&mut self, action: Action, subject: usize, now: Millis) -> Millis {
        let due = self.turns.entry((action, subject)).or_insert(now);
        let (wait, ahead) = fly::take_turn(action, Duration::from_millis(due.saturating_sub(now)));
        *due = now + millis_of(ahead);
        now + millis_of(wait) + LATENCY
    }

    /// The comparisons of which nothing follows have asked for the list, too; of them only the last few still matter.
    fn compare_meanwhile(&mut self, action: Action) {
        let last_few = self.now.saturating_sub(3 * COMPARE_EVERY).next_multiple_of(COMPARE_EVERY);
        let mut due = self.comparisons.get(&action).copied().unwrap_or(0).max(last_few);
        while due < self.now {
            let arrives = self.turn_at(action, OF_APP, due);
            self.fly.count(action, OF_APP, arrives);
            due += COMPARE_EVERY;
        }
        self.comparisons.insert(action, due);
    }

    pub(super) fn later(&mut self, row: usize, after: Millis) {
        self.rows[row].next_try = self.now + after;
        self.at(self.now + after, Event::Step(row));
    }

    pub(super) fn call(&mut self, row: usize) {
        self.rows[row].in_flight = false;
        let before = (self.rows[row].state, self.rows[row].generation);
        let answered = match before.0 {
            State::Creating => self.create(row),
            State::Starting | State::Resuming => self.boot(row),
            State::Suspending if self.rows[row].is_retiring => {
                self.make_anew(row, Disk::Keep, self.rows[row].region, Rung::Look);
                Ok(())
            }
            State::Suspending => self.suspend(row),
            State::Destroying => self.destroy(row),
            State::Ready | State::Draining | State::Suspended | State::Destroyed => Ok(()),
        };
        self.rows[row].granted = None;
        if let Err(refusal) = answered {
            self.stumble(row, refusal);
        }
    }

    pub(super) fn stumble(&mut self, row: usize, refusal: Refusal) {
        let known = &self.rows[row];
        let patience = if known.state == State::Suspending { 20 * MINUTE } else { 10 * MINUTE };
        let (state, is_late) = (known.state, self.now - known.since > patience);
        let asks = is_late || refusal.advice == Advice::Gone;
        let is_provider_well = asks && self.list(row).is_ok();
        let Refusal { advice, status } = refusal;
        let least = millis_of(recovery::least_wait(state, &advice));
        let failed = Failed { state, advice, status, is_late, is_provider_well, failures: self.rows[row].failures };
        match recovery::stumble(&failed) {
            Stumble::Climb(trouble) => self.climb(row, trouble),
            Stumble::GiveUp => self.give_up(row),
            Stumble::Retry | Stumble::TokenRefused => {
                self.rows[row].failures += 1;
                let failures = u32::try_from(self.rows[row].failures).unwrap_or(1).min(7);
                self.later(row, (250 << failures).min(30 * SECOND).max(least));
            }
        }
    }

    fn list(&mut self, row: usize) -> Result<Vec<Listed<(usize, u32)>>, Refusal> {
        let at = self.ask(row, Action::ListMachines, OF_APP);
        self.fly.list(at)
    }

    pub(super) fn new_volume(&mut self) -> usize {
        self.volumes += 1;
        self.volumes
    }

    pub(super) fn create(&mut self, row: usize) -> Result<(), Refusal> {
        let now = self.now;
        if let Some(former) = self.rows[row].former {
            if !self.destroyed(row, former)? {
                self.going(row);
                return Ok(());
            }
            self.accrue(row);
            self.rows[row].former = None;
        } else if self.rows[row].volume.is_none() {
            let volume = self.create_volume(row)?;
            self.accrue(row);
            // It has cost since it was made, by an earlier try perhaps.
            self.ledger.add(self.fly.volume_made(volume).unwrap_or(now), now, PRICES.volume);
            self.rows[row].volume = Some(volume);
        } else {
            let made = self.create_machine(row)?;
            self.accrue(row);
            self.ledger.add(self.fly.machines[made].made, now, PRICES.awake);
            self.rests.remove(&self.rows[row].region);
            self.rows[row].machine = Some(made);
            self.rows[row].made_at = Some(now);
            let rung = self.rows[row].rung;
            self.shift(row, State::Starting);
            self.rows[row].rung = rung;
            self.listen(row);
            return Ok(());
        }
        self.at(now, Event::Step(row));
        Ok(())
    }

    /// Its name is not unique, so an earlier try is looked for.
    fn create_volume(&mut self, row: usize) -> Result<usize, Refusal> {
        let name = self.rows[row].volume_name;
        let at = self.ask(row, Action::ListVolumes, OF_APP);
        let known = self.fly.list_volumes(at)?;
        if let Some(volume) = known.iter().find(|volume| volume.name == name) {
            return Ok(volume.id);
        }
        let at = self.ask(row, Action::CreateVolume, OF_APP);
        self.fly.create_volume(name, at)
    }

    fn create_machine(&mut self, row: usize) -> Result<usize, Refusal> {
        let Row { generation, volume, .. } = self.rows[row];
        let (name, volume) = ((row, generation), volume.expect("made before"));
        let at = self.ask(row, Action::CreateMachine, OF_APP);
        let refusal = match self.fly.create_machine(name, volume, at) {
            Ok(made) => return Ok(made),
            Err(refusal) => refusal,
        };
        match &refusal.advice {
            Advice::Adopt(id) => {
                let id = id.parse().expect("an id");
                let at = self.ask(row, Action::ReadMachine, id);
                self.fly.read(id, at).map(|_| id)
            }
            advice if *advice == Advice::LookAgain || self.rows[row].failures > 0 => {
                let there = match self.list(row) {
                    Err(_) if *advice == Advice::LookAgain => return Err(refusal),
                    listed => listed?,
                };
                there.iter().find(|found| found.name == name).map(|found| found.id).ok_or(refusal)
            }
            _ => Err(refusal),
        }
    }

    fn going(&mut self, row: usize) {
        self.seen.slow_to_go += 1;
        let until = recovery::goes_until(time(self.rows[row].since), time(self.now));
        self.later(row, millis(until) - self.now);
    }

    /// Destroys a machine, and says whether it is gone already.
    fn destroyed(&mut self, row: usize, id: usize) -> Result<bool, Refusal> {
        let at = self.ask(row, Action::DestroyMachine, id);
        self.fly.destroy(id, at)?;
        let at = self.ask(row, Action::ReadMachine, id);
        match self.fly.read(id, at) {
            Ok(state) => Ok(state == At::Destroyed),
            Err(refusal) if refusal.advice == Advice::Gone => self.list(row).map(|_| true),
            Err(refusal) => Err(refusal),
        }
    }

    /// A runner that comes up says so.
    pub(super) fn listen(&mut self, row: usize) {
        let Some(machine) = self.rows[row].machine else { return };
        let boot = self.fly.look(machine, self.now).boot;
        for after in [2 * SECOND, 5 * SECOND, 14 * SECOND, 20 * SECOND] {
            self.at(self.now + after, Event::Report { row, boot });
        }
    }

    pub(super) fn report(&mut self, row: usize, boot: u64) {
        let known = &self.rows[row];
        let Some(machine) = known.machine else { return };
        if !matches!(known.state, State::Starting | State::Resuming) {
            return;
        }
        let there = self.fly.look(machine, self.now).clone();
        if there.boot != boot || there.state != At::Started || there.is_deaf || there.is_lost {
            return;
        }
        if self.rows[row].heard_boot != boot {
            self.lose_work(row);
        }
        self.shift(row, State::Ready);
        let known = &mut self.rows[row];
        (known.heard_boot, known.is_retiring) = (boot, false);
        (known.is_used, known.refusals, known.rests_until) = (true, 0, 0);
        if known.task.is_none() {
            known.idle_since = Some(self.now);
        }
    }

    pub(super) fn boot(&mut self, row: usize) -> Result<(), Refusal> {
        let now = self.now;
        let machine = self.rows[row].machine.expect("made");
        if self.rows[row].state == State::Resuming && self.rows[row].is_first_look() {
            let at = self.ask(row, Action::Start, machine);
            self.fly.start(machine, at)?;
            self.rests.remove(&self.rows[row].region);
            self.started(row, 0);
            return Ok(());
        }
        let known = &self.rows[row];
        let booting = Booting {
            since: time(known.since),
            restarts: known.restarts,
            report_by: known.report_by.map(time),
            patience: Duration::from_secs(600),
            rung: known.rung,
            is_host_well: true,
        };
        let at = self.ask(row, Action::ReadMachine, machine);
        let state = self.fly.read(machine, at)?;
        match recovery::boot(booting, state, time(now)) {
            Boot::Start => {
                let at = self.ask(row, Action::Start, machine);
                self.fly.start(machine, at)?;
                self.started(row, 1);
            }
            Boot::Restart => {
                let at = self.ask(row, Action::Restart, machine);
                self.fly.restart(machine, at)?;
                self.rows[row].rung = Rung::Restart;
                self.started(row, 0);
            }
            Boot::Stop => {
                let at = self.ask(row, Action::Stop, machine);
                self.fly.stop(machine, at)?;
                self.rows[row].rung = Rung::StopStart;
                self.rows[row].report_by = None;
                self.later(row, SECOND);
            }
            Boot::GrantTime => {
                self.rows[row].report_by = Some(now + 60 * SECOND);
                self.listen(row);
                self.later(row, 60 * SECOND);
            }
            Boot::Wait(until) => self.later(row, millis(until).saturating_sub(now).max(500)),
            Boot::Climb(trouble, _) => self.climb(row, trouble),
        }
        Ok(())
    }

    pub(super) fn started(&mut self, row: usize, restarts: i32) {
        let known = &mut self.rows[row];
        (known.report_by, known.failures) = (Some(self.now + 30 * SECOND), 0);
        known.restarts += restarts;
        self.listen(row);
        self.later(row, 30 * SECOND);
    }

    pub(super) fn suspend(&mut self, row: usize) -> Result<(), Refusal> {
        let (now, machine) = (self.now, self.rows[row].machine.expect("made"));
        let tired = Tired { since: time(self.rows[row].since), failures: self.rows[row].failures };
        let at = self.ask(row, Action::ReadMachine, machine);
        let state = self.fly.read(machine, at)?;
        match recovery::suspend(tired, state, time(now)) {
            Sleep::Asleep => {
                if state == At::Stopped {
                    // Its memory is gone, and with it what it was doing.
                    self.lose_work(row);
                }
                self.shift(row, State::Suspended);
            }
            Sleep::Climb(trouble) => self.climb(row, trouble),
            Sleep::Wait => self.later(row, 2 * SECOND),
            Sleep::Suspend => {
                let at = self.ask(row, Action::Suspend, machine);
                self.fly.suspend(machine, at)?;
                self.later(row, 2 * SECOND);
            }
            Sleep::Stop => {
                let at = self.ask(row, Action::Stop, machine);
                self.fly.stop(machine, at)?;
                self.later(row, 2 * SECOND);
            }
        }
        Ok(())
    }

    pub(super) fn destroy(&mut self, row: usize) -> Result<(), Refusal> {
        let Row { generation, former, volume_name, since, machine, volume, .. } = self.rows[row];
        let list_lag = millis_of(recovery::LIST_LAG);
        if (machine.is_none() || volume.is_none()) && self.now < since + list_lag {
            self.later(row, since + list_lag - self.now);
            return Ok(());
        }
        let machine = match machine {
            Some(id) => Some(id),
            // An earlier create may have come through without our learning of it.
            None => self.list(row)?.iter().find(|found| found.name == (row, generation)).map(|found| found.id),
        };
        for id in machine.into_iter().chain(former) {
            if !self.destroyed(row, id)? {
                self.going(row);
                return Ok(());
            }
        }
        let volumes = match volume {
            Some(id) => vec![id],
            None => {
                let at = self.ask(row, Action::ListVolumes, OF_APP);
                let listed = self.fly.list_volumes(at)?;
                listed.iter().filter(|volume| volume.name == volume_name).map(|volume| volume.id).collect()
            }
        };
        for volume in volumes {
            let at = self.ask(row, Action::DestroyVolume, volume);
            self.fly.destroy_volume(volume, at)?;
        }
        self.accrue(row);
        self.rows[row].volume = None;
        self.shift(row, State::Destroyed);
        (self.rows[row].machine, self.rows[row].former) = (None, None);
        Ok(())
    }

    pub(super) fn host_fails(&mut self) {
        let up: Vec<usize> =
            self.live().filter(|(_, row)| row.state == State::Ready).map(|(number, _)| number).collect();
        if up.is_empty() {
            return;
        }
        let row = up[usize::try_from(self.scenario.dice.below(up.len() as u64)).expect("small")];
        let machine = self.rows[row].machine.expect("made");
        let now = self.now;
        let there = self.fly.look(machine, now);
        there.is_lost = true;
        let boot = there.boot;
        self.at(now + 5 * MINUTE, Event::Silent { row, boot });
    }

    pub(super) fn silent(&mut self, row: usize, boot: u64) {
        if self.rows[row].state == State::Ready && self.rows[row].heard_boot == boot {
            self.shift(row, State::Starting);
            self.rows[row].report_by = Some(self.now);
        }
    }

    pub(super) fn tend(&mut self, row: usize, volumes: &[Listed<usize>]) {
        let known = &self.rows[row];
        if let Some(minutes) = recovery::newly_stuck(known.state, time(known.since), known.stuck, time(self.now)) {
            self.rows[row].stuck = minutes;
            if minutes >= recovery::STUCK_ACT_MINUTES {
                self.seen.stuck += 1;
                self.rows[row].report_by = self.rows[row].report_by.map(|by| by.min(self.now));
                self.later(row, 0);
            }
        }
        // Replaced volumes are cleared away after a while, once nothing uses them.
        self.accrue(row);
        let due = |old: &Released| self.now >= old.since + RELEASED_KEEP;
        let (due, kept) = std::mem::take(&mut self.rows[row].old_volumes).into_iter().partition(due);
        self.rows[row].old_volumes = kept;
        for old in due {
            let named = || volumes.iter().find(|volume| volume.name == old.name).map(|volume| volume.id);
            let Some(id) = old.id.or_else(named) else { continue };
            let at = self.turn(Action::DestroyVolume, id);
            if self.fly.destroy_volume(id, at).is_err() {
                self.rows[row].old_volumes.push(old);
            }
        }
    }
}
