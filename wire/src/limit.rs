//! The bounds that both ends of a wire must know. Units are in the names.

/// A title is one line a person can read in a list.
pub const TITLE_CHARS: usize = 500;
/// A description is a page, not a file.
pub const DESCRIPTION_CHARS: usize = 65_536;
/// What one search may look for.
pub const SEARCH_CHARS: usize = 500;
/// Tasks in one batch (row CAIRN-15).
pub const TASKS_PER_BATCH: usize = 100;
/// Dependencies between the tasks of one batch.
pub const DEPENDENCIES_PER_BATCH: usize = 1_000;
/// The label of dependencies of which one suffices.
pub const GROUP_CHARS: usize = 100;
/// The name of an artefact.
pub const ARTEFACT_CHARS: usize = 200;
/// What is said of an outcome.
pub const OUTCOME_DETAIL_CHARS: usize = 2_048;
/// Outcomes of one task.
pub const OUTCOMES_PER_TASK: usize = 100;
/// Tasks in one import; all of them or none are stored.
pub const TASKS_PER_IMPORT: usize = 10_000;
/// The body of one import.
pub const IMPORT_BYTES: usize = 64 * 1024 * 1024;
/// The name of a line of an import.
pub const IMPORT_KEY_CHARS: usize = 200;
/// What one line of an import needs.
pub const NEEDS_PER_TASK: usize = 1_000;
/// What a runtime's parts are called.
pub const RUNTIME_NAME_CHARS: usize = 200;
/// Words that are typed to an agent at once.
pub const TRIGGER_CHARS: usize = 16_384;
/// What a proposal is known as elsewhere.
pub const SOURCE_CHARS: usize = 500;
/// Keys of metadata that one line of an import brings along.
pub const METADATA_PER_IMPORT: usize = 200;
/// A key of a task's metadata.
pub const METADATA_KEY_CHARS: usize = 200;
/// A value of a task's metadata.
pub const METADATA_VALUE_CHARS: usize = 65_536;
/// Tasks whose metadata is read in one request.
pub const METADATA_TASKS: usize = 1_000;
/// Tags on one task.
pub const TAGS_PER_TASK: usize = 100;
/// One tag.
pub const TAG_CHARS: usize = 100;
/// A name of a key, a project or an owner.
pub const NAME_CHARS: usize = 100;
/// Keys of one task.
pub const KEYS_PER_TASK: usize = 10;
/// The most that a limit may let run at once.
pub const RUNNING_MAX: i32 = 1_000_000;
/// Tokens of a rate limit.
pub const RATE_TOKENS_MAX: i64 = 1_000_000;
/// The longest span of a rate limit: seven days.
pub const RATE_SECONDS_MAX: i64 = 7 * 24 * 3_600;
/// The most that a project weighs.
pub const WEIGHT_MAX: i32 = 1_000;
/// The most that a budget may hold: a hundred million dollars, in millionths.
pub const BUDGET_MICROS_MAX: i64 = 100_000_000_000_000;
/// The most machine-seconds, tokens or attempts that a budget may hold.
pub const BUDGET_UNITS_MAX: i64 = 1_000_000_000_000;
/// A cron expression.
pub const CRON_CHARS: usize = 200;
/// Why a caller asks for a change, or holds something, in its own words.
/// A type of worker or of agent.
pub const AGENT_TYPE_CHARS: usize = 100;
/// Types of agent whose work one worker takes.
pub const AGENT_TYPES_PER_WORKER: usize = 100;
/// What a worker that somebody else runs may tell about itself.
pub const WORKER_METADATA_BYTES: usize = 16 * 1024;
/// Executions that a worker takes at once.
pub const WORKER_CAPACITY: i32 = 100;
/// Tasks that one request assigns.
pub const ASSIGNMENTS_PER_BATCH: usize = 100;
/// Tasks that an answer about scores shows.
pub const SCORES_SHOWN: usize = 10_000;
/// Failure strategies of one tenant.
pub const STRATEGIES: i64 = 100;
/// A failure strategy's name.
pub const STRATEGY_NAME_CHARS: usize = 100;
/// Rules of one failure strategy.
pub const STRATEGY_RULES: usize = 20;
/// Attempts that a failure strategy may allow.
pub const STRATEGY_ATTEMPTS: i32 = 100;
/// Parts into which a task is split.
pub const SUBTASKS: usize = 100;
/// Tasks that one request calls off or has retried, unless it says that it means all of them.
pub const BULK_TASKS: usize = 100;
/// Tasks that one request calls off or has retried if it does.
pub const BULK_TASKS_OF_ALL: usize = 10_000;
/// What an agent is asked to do.
pub const PROMPT_CHARS: usize = 200_000;
/// An agent's name.
pub const AGENT_NAME_CHARS: usize = 50;
/// The name of an agent's model or session.
pub const AGENT_WORD_CHARS: usize = 200;
/// Why a caller asks for a change, in its own words.
pub const REASON_CHARS: usize = 500;
/// Webhooks of one tenant.
pub const WEBHOOKS_MAX: i64 = 100;
/// Where a webhook's messages go.
pub const WEBHOOK_URL_CHARS: usize = 2_048;
/// Event types that one webhook names.
pub const WEBHOOK_EVENT_TYPES: usize = 50;
/// What a webhook is for.
pub const WEBHOOK_DESCRIPTION_CHARS: usize = 500;
/// Attempts to deliver, in one page.
pub const DELIVERIES_PAGE: i64 = 1_000;
/// How long a webhook's secret may sign beside the one that took its place.
pub const ROTATION_OVERLAP_SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// Entries of one page of the audit.
pub const AUDIT_PAGE: i64 = 1_000;
/// Arguments of a command, the program itself included.
pub const COMMAND_ARGUMENTS: usize = 1_024;
/// All arguments of a command together; Linux refuses far larger ones.
pub const COMMAND_BYTES: usize = 131_072;
/// Variables in a task's environment.
pub const ENV_VARIABLES: usize = 256;
/// All names and values of a task's environment together.
pub const ENV_BYTES: usize = 65_536;
/// Hosts that a task may reach besides what every task may.
pub const EGRESS_HOSTS: usize = 16;
/// Their length in all: they travel in the proxy's password.
pub const EGRESS_BYTES: usize = 1_024;
/// A repository's address or a reference in it.
pub const REPOSITORY_CHARS: usize = 2_048;
/// The longest a task may be asked to run: seven days.
pub const TIMEOUT_SECONDS_MAX: u64 = 7 * 24 * 3_600;
/// What a task gets when it names no timeout: thirty minutes.
pub const TIMEOUT_SECONDS_DEFAULT: u64 = 1_800;
/// Events in one request to the event store.
pub const EVENTS_PER_BATCH: usize = 1_000;
/// One request to the event store.
pub const EVENT_BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Grants in one request to the event store; a batch is of no more executions.
pub const GRANTS_PER_REQUEST: usize = 16;
/// Any other request body of ours.
pub const BODY_BYTES: usize = 2 * 1024 * 1024;
/// One log event's text, before JSON escapes.
pub const LOG_CHUNK_BYTES: usize = 16 * 1024;
/// The longest a server holds a long poll open.
pub const POLL_SECONDS_MAX: u64 = 30;
/// The longest a command may ask at once that its machine stays awake.
pub const BUSY_SECONDS_MAX: u64 = 3_600;
/// How far a signature's timestamp may be from the receiver's clock (Standard Webhooks).
pub const SIGNATURE_TOLERANCE_SECONDS: i64 = 300;
/// The most machines that a pool has at once, whatever its configuration says (row FLY-038).
pub const MACHINES_MAX: usize = 10;
/// Tasks in one claim.
pub const CLAIM_TASKS: u32 = 100;
/// Tags that a claimed task has to carry.
pub const CLAIM_TAGS: usize = 10;
/// The shortest lease that may be asked for.
pub const LEASE_SECONDS_MIN: u64 = 5;
/// The longest: a day.
pub const LEASE_SECONDS_MAX: u64 = 24 * 3_600;
/// What a claim gets when it names no lease: five minutes.
pub const LEASE_SECONDS_DEFAULT: u64 = 300;
/// Executions that one request completes.
pub const COMPLETIONS_PER_BATCH: usize = 100;
/// What is kept of a message about what went wrong, or of a reason.
pub const MESSAGE_CHARS: usize = 4_096;
/// Paths of a checkpoint that are named.
pub const CHECKPOINT_PATHS: usize = 500;
/// A path of a checkpoint, as it is named.
pub const CHECKPOINT_PATH_CHARS: usize = 1_024;
/// References that keep what a checkpoint's execution did not push.
pub const CHECKPOINT_REFERENCES: usize = 100;
/// Checkpoints that one machine has.
pub const CHECKPOINTS_PER_MACHINE: usize = 200;
/// Pins on one machine; with more, its volume would only fill.
pub const PINS_PER_MACHINE: i64 = 50;
/// Checkpoints that a list shows.
pub const CHECKPOINTS_SHOWN: i64 = 1_000;
/// Pieces of work that nobody pushed, of one machine.
pub const KEPT_PER_MACHINE: usize = 500;
/// Pieces of work that nobody pushed, that a list shows.
pub const KEPT_SHOWN: i64 = 1_000;
/// The file in which a tool reports of its tests.
pub const REPORT_PATH_BYTES: usize = 1_024;
/// Tests that failed, of which a report names so many.
pub const FAILED_TESTS: usize = 50;
/// A test's name.
pub const TEST_NAME_CHARS: usize = 500;
/// What is kept of what a test says when it fails.
pub const TEST_MESSAGE_CHARS: usize = 2_000;
/// The title of a pull request, as GitHub bounds it.
pub const PULL_REQUEST_TITLE_CHARS: usize = 256;
/// Words of a test command that its report shows.
pub const COMMAND_SHOWN: usize = 20;
/// Last lines of a task's output that can be asked for.
pub const LOG_LINES: u32 = 10_000;
