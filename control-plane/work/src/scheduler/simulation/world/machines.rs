//! What happens to machines: the steps of each row, the ladder, the comparison with
//! the provider, and hosts that fail.

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
        let volumes = known.volume.iter().len() + known.old_volumes.len();
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
        let known = &mut self.rows[row];
        known.former = known.machine.take().or(known.former);
        if disk != Disk::Keep {
            known.old_volumes.extend(known.volume.take().map(|volume| (volume, self.now)));
        }
        let keep = Row {
            volume: known.volume,
            former: known.former,
            old_volumes: std::mem::take(&mut known.old_volumes),
            generation: known.generation + 1,
            rung,
            is_retiring: known.is_retiring,
            repository: known.repository.take().filter(|_| disk != Disk::New),
            in_flight: known.in_flight,
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
        let (action, subject) = match known.state {
            State::Creating if known.former.is_some() => (Action::DestroyMachine, known.former.unwrap_or(0)),
            State::Creating if known.volume.is_none() => (Action::CreateVolume, OF_APP),
            State::Creating => (Action::CreateMachine, OF_APP),
            State::Destroying => (Action::DestroyMachine, known.machine.unwrap_or(OF_APP)),
            _ => (Action::ReadMachine, known.machine.unwrap_or(OF_APP)),
        };
        let wait = self.turn(action, subject);
        self.rows[row].in_flight = true;
        self.at(self.now + wait + LATENCY, Event::Call(row));
    }

    /// How long the client has a call wait.
    fn turn(&mut self, action: Action, subject: usize) -> Millis {
        let due = self.turns.entry((action, subject)).or_insert(self.now);
        let (wait, ahead) = fly::take_turn(action, Duration::from_millis(due.saturating_sub(self.now)));
        let whole = |time: Duration| Millis::try_from(time.as_millis()).expect("in range");
        *due = self.now + whole(ahead);
        whole(wait)
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
        if let Err(refusal) = answered {
            self.stumble(row, refusal);
        }
    }

    pub(super) fn stumble(&mut self, row: usize, refusal: Refusal) {
        let known = &self.rows[row];
        let patience = if known.state == State::Suspending { 20 * MINUTE } else { 10 * MINUTE };
        let is_late = self.now - known.since > patience;
        let failed = Failed {
            state: known.state,
            advice: refusal.advice,
            status: refusal.status,
            is_late,
            is_provider_well: true,
        };
        match recovery::stumble(&failed) {
            Stumble::Climb(trouble) => self.climb(row, trouble),
            Stumble::GiveUp => self.give_up(row),
            Stumble::Retry | Stumble::TokenRefused => {
                self.rows[row].failures += 1;
                let failures = u32::try_from(self.rows[row].failures).unwrap_or(1).min(7);
                self.later(row, (250 << failures).min(30 * SECOND));
            }
        }
    }

    pub(super) fn create(&mut self, row: usize) -> Result<(), Refusal> {
        let now = self.now;
        if let Some(former) = self.rows[row].former {
            self.fly.destroy(former, now)?;
            self.accrue(row);
            self.rows[row].former = None;
        } else if self.rows[row].volume.is_none() {
            let volume = self.fly.create_volume(now)?;
            self.accrue(row);
            self.rows[row].volume = Some(volume);
        } else {
            let Row { generation, region, volume, .. } = self.rows[row];
            let (name, volume) = ((row, generation), volume.expect("made before"));
            let made = match self.fly.create_machine(name, volume, now) {
                Err(Refusal { advice: Advice::Adopt(id), .. }) => id.parse().expect("an id"),
                Err(refusal) if refusal.advice == Advice::LookAgain => self.fly.named(name).ok_or(refusal)?,
                answer => answer?,
            };
            self.accrue(row);
            self.rests.remove(&region);
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
        let known = &self.rows[row];
        let is_first = known.report_by.is_none() && known.failures == 0 && known.restarts == 0;
        if known.state == State::Resuming && is_first {
            self.fly.start(machine, now)?;
            let region = self.rows[row].region;
            self.rests.remove(&region);
            self.started(row, 0);
            return Ok(());
        }
        let booting = Booting {
            since: time(known.since),
            restarts: known.restarts,
            report_by: known.report_by.map(time),
            patience: Duration::from_secs(600),
            rung: known.rung,
            is_host_well: true,
        };
        let at = self.fly.read(machine, now)?;
        match recovery::boot(booting, at, time(now)) {
            Boot::Start => {
                self.fly.start(machine, now)?;
                self.started(row, 1);
            }
            Boot::Restart => {
                self.fly.restart(machine, now)?;
                self.rows[row].rung = Rung::Restart;
                self.started(row, 0);
            }
            Boot::Stop => {
                self.fly.stop(machine, now)?;
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
        let at = self.fly.read(machine, now)?;
        match recovery::suspend(tired, at, time(now)) {
            Sleep::Asleep => {
                if at == At::Stopped {
                    // Its memory is gone, and with it what it was doing.
                    self.lose_work(row);
                }
                self.shift(row, State::Suspended);
            }
            Sleep::Climb(trouble) => self.climb(row, trouble),
            Sleep::Wait => self.later(row, 2 * SECOND),
            Sleep::Suspend => {
                self.fly.suspend(machine, now)?;
                self.later(row, 2 * SECOND);
            }
            Sleep::Stop => {
                self.fly.stop(machine, now)?;
                self.later(row, 2 * SECOND);
            }
        }
        Ok(())
    }

    pub(super) fn destroy(&mut self, row: usize) -> Result<(), Refusal> {
        let now = self.now;
        let Row { generation, machine, former, .. } = self.rows[row];
        // An earlier create may have come through without our learning of it.
        let known = machine.or_else(|| self.fly.named((row, generation)));
        for id in known.into_iter().chain(former) {
            self.fly.destroy(id, now)?;
        }
        if let Some(volume) = self.rows[row].volume {
            self.fly.destroy_volume(volume, now)?;
            self.accrue(row);
            self.rows[row].volume = None;
        }
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

    /// Machines that Fly has and no row knows.
    pub(super) fn strangers(&self) -> Vec<usize> {
        let is_known = |machine: &Machine, id: usize| {
            let (row, generation) = machine.name;
            let known = &self.rows[row];
            known.state != State::Destroyed
                && (known.generation == generation || known.former == Some(id) || known.machine == Some(id))
        };
        self.fly.existing().filter(|(id, machine)| !is_known(machine, *id)).map(|(id, _)| id).collect()
    }

    pub(super) fn watch(&mut self) {
        self.fly.count(Action::ListMachines, OF_APP, self.now);
        let seen = self.strangers();
        for id in seen.iter().filter(|id| self.suspects.contains(id)) {
            self.fly.destroy(*id, self.now).ok();
        }
        self.suspects = seen;
        for row in self.open.clone() {
            self.tend(row);
        }
        self.open.retain(|row| self.rows[*row].is_open());
        self.at(self.now + 30 * SECOND, Event::Watch);
    }

    pub(super) fn tend(&mut self, row: usize) {
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
        let old = std::mem::take(&mut self.rows[row].old_volumes);
        let is_wanted = |(volume, since): &(usize, Millis)| {
            self.now < since + RELEASED_KEEP || self.fly.existing().any(|(_, machine)| machine.volume == *volume)
        };
        let (kept, free): (Vec<_>, Vec<_>) = old.into_iter().partition(is_wanted);
        self.rows[row].old_volumes = kept;
        for (volume, since) in free {
            if self.fly.destroy_volume(volume, self.now).is_err() {
                self.rows[row].old_volumes.push((volume, since));
            }
        }
    }
}
