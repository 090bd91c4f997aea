//! The types of event that Bifrost writes.

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
        /// All of them.
        pub const ALL: &[&str] = &[$($name),*];
    };
}

kinds! {
    /// A task was submitted.
    TASK_SUBMITTED = "task.submitted";
    /// A task was given to a worker: [`super::AssignedPayload`].
    TASK_ASSIGNED = "task.assigned";
    /// A worker began.
    TASK_STARTED = "task.started";
    /// A task ended well.
    TASK_COMPLETED = "task.completed";
    /// A task ended badly.
    TASK_FAILED = "task.failed";
    /// A task was called off.
    TASK_CANCELLED = "task.cancelled";
    /// A task is ready again, retried by a person or lost with its worker: [`super::RequeuedPayload`].
    TASK_REQUEUED = "task.requeued";
    /// Some other field of a task changed.
    TASK_UPDATED = "task.updated";
    /// A task was removed with everything that hung on it; its payload holds the title.
    TASK_DELETED = "task.deleted";
    /// A task needs another from now on: a [`DependencyView`](crate::dependency::DependencyView).
    DEPENDENCY_ADDED = "task.dependency_added";
    /// A task no longer needs another: a [`DependencyView`](crate::dependency::DependencyView).
    DEPENDENCY_REMOVED = "task.dependency_removed";
    /// Something is true of a task from now on: an [`OutcomeView`](crate::outcome::OutcomeView).
    OUTCOME_SET = "task.outcome_set";
    /// It is no longer true: the [`OutcomeView`](crate::outcome::OutcomeView) that was.
    OUTCOME_WITHDRAWN = "task.outcome_withdrawn";
    /// A key of a task got a value or lost it; its payload holds the key.
    METADATA_SET = "task.metadata_set";
    /// A task's deadline passed while somebody had it; its payload holds the deadline.
    TASK_OVERDUE = "task.overdue";
    /// So much of a budget is spent that somebody should know, once in a period: a
    /// [`BudgetView`](crate::budget::BudgetView).
    BUDGET_ALERT = "budget.alert";
    /// Something was held: a [`HoldView`](crate::admission::HoldView).
    HOLD_SET = "hold.set";
    /// A hold was removed, or its time was over: a [`HoldView`](crate::admission::HoldView).
    HOLD_ENDED = "hold.ended";
    /// A schedule did not submit a task, and why: a [`super::SkippedPayload`].
    SCHEDULE_SKIPPED = "schedule.skipped";
    /// A webhook's receiver failed for so long that nothing is sent to it any more.
    WEBHOOK_DEACTIVATED = "webhook.deactivated";
    /// Tasks were scored: the algorithm and how many.
    TASKS_PRIORITIZED = "tasks.prioritized";
    /// A task had to give its worker to a more urgent one: which of the two it was, the other task, the worker.
    TASK_PREEMPTED = "task.preempted";
    /// A failure strategy was applied to a task: which one, what it did about which failure, after how many attempts.
    STRATEGY_APPLIED = "task.strategy_applied";
    /// A failed task was left to a person: why.
    TASK_ESCALATED = "task.escalated";
    /// A task was replaced by its parts; its payload holds their ids.
    TASK_SPLIT = "task.split";
    /// A machine of the pool changed state.
    MACHINE_STATE = "machine.state";
    /// A machine was to be woken and booted instead: its memory was lost.
    MACHINE_COLD_START = "machine.cold_start";
    /// A machine has been on its way to another state for five or ten minutes; its payload says where and how long.
    MACHINE_STUCK = "machine.stuck";
    /// A machine that did not move on was helped; its payload says how and why.
    MACHINE_RECOVERY = "machine.recovery";
    /// A machine or volume of the pool was found at the provider that no row knows, or was destroyed for that.
    MACHINE_ORPHAN = "machine.orphan";
    /// A machine lost its volume, which stays for the work that it alone has: which, of which machine, what is on it,
    /// and what to do.
    VOLUME_KEPT = "volume.kept";
    /// A region had no room and is left alone for a while.
    REGION_RESTS = "region.rests";
    /// The provider refused the token; written once until it is accepted again.
    PROVIDER_REFUSED = "provider.refused";
    /// The machines' cost has reached a part of a budget: its payload says which.
    COST_ALERT = "cost.alert";
    /// A phase of an execution began or ended: [`super::PhasePayload`].
    EXECUTION_PHASE = "execution.phase";
    /// What keeps the command apart, told before it starts: [`super::IsolationPayload`].
    EXECUTION_ISOLATION = "execution.isolation";
    /// Output of the command: [`super::LogPayload`].
    EXECUTION_LOG = "execution.log";
    /// The last event of an execution: [`super::FinishedPayload`].
    EXECUTION_FINISHED = "execution.finished";
    /// A coding agent said what requests to its model took: an [`AgentUsage`](crate::agent::AgentUsage).
    AGENT_USAGE = "agent.usage";
    /// A coding agent has ended: an [`AgentReport`](crate::agent::AgentReport).
    AGENT_REPORT = "agent.report";
    /// A checkpoint was saved.
    CHECKPOINT_SAVED = "checkpoint.saved";
    /// A machine is gone, or has lost its disk, with a checkpoint that was pinned or had work that was pushed nowhere.
    CHECKPOINT_GONE = "checkpoint.gone";
    /// A machine is gone, or has lost its disk, with work of an execution that was pushed nowhere, or was not saved: where
    /// it was there.
    WORK_GONE = "work.gone";
    /// Work that was to be pushed could not be, and is on its machine alone: its references, and why.
    WORK_NOT_PUSHED = "work.not_pushed";
    /// What came of an execution's tests: a [`TestReport`](crate::test_report::TestReport).
    TESTS_REPORT = "tests.report";
    /// What an execution did is proposed to its repository's host: a
    /// [`PullRequest`](crate::pull_request::PullRequest).
    PULL_REQUEST_OPENED = "pull_request.opened";
    /// A runtime was registered, or is another one than before.
    RUNTIME_REGISTERED = "runtime.registered";
    /// A runtime has ended.
    RUNTIME_DEREGISTERED = "runtime.deregistered";
    /// Nothing is written to a runtime for a while.
    RUNTIME_PAUSED = "runtime.paused";
    /// What waits for a runtime is written again.
    RUNTIME_RESUMED = "runtime.resumed";
    /// Words for an agent were asked for.
    TRIGGER_QUEUED = "trigger.queued";
    /// Words for an agent were not written yet; why is its reason.
    TRIGGER_DEFERRED = "trigger.deferred";
    /// Words for an agent were written.
    TRIGGER_WRITTEN = "trigger.written";
    /// An agent has read what was written: a [`TriggerView`](crate::runtime::TriggerView).
    TRIGGER_DELIVERED = "trigger.delivered";
    /// Nobody tries any more to have an agent read it: a [`TriggerView`](crate::runtime::TriggerView).
    TRIGGER_FAILED = "trigger.failed";
    /// A checkpoint was put back, after the health check found damage or because a task begins from it.
    CHECKPOINT_RESTORED = "checkpoint.restored";
    /// What a machine holds was looked at, before new work: a [`super::CheckedPayload`].
    VOLUME_CHECKED = "volume.checked";
    /// Something on the machine's volume was found damaged and set aside.
    VOLUME_DAMAGED = "volume.damaged";
    /// The event store did not answer the control plane's probes: written when that was noticed, once
    /// in an outage, and delivered when it was over. Its payload is empty.
    EVENT_STORE_AWAY = "event_store.away";
    /// Little room is left on the event store's volume: [`super::VolumePayload`].
    VOLUME_LOW = "volume.low";
    /// There is room enough on it again: [`super::VolumePayload`].
    VOLUME_RECOVERED = "volume.recovered";
    /// A request to the egress proxy has ended: [`super::EgressPayload`].
    EGRESS_REQUEST = "egress.request";
    /// The event store deleted its oldest events: [`super::PrunedPayload`].
    LOG_PRUNED = "log.pruned";
}
