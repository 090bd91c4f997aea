//! The examples of webhooks.

pub(in crate::args) const ADD: &str = "\
Examples:
  bifrost webhooks add https://example.org/hooks
  bifrost webhooks add https://example.org/hooks --event task.completed --event task.failed
  bifrost webhooks add https://example.org/hooks --secret-file secret.txt";

pub(in crate::args) const LIST: &str = "\
Examples:
  bifrost webhooks list";

pub(in crate::args) const SHOW: &str = "\
Examples:
  bifrost webhooks show WEBHOOK";

pub(in crate::args) const UPDATE: &str = "\
Examples:
  bifrost webhooks update WEBHOOK --activate
  bifrost webhooks update WEBHOOK --to https://example.org/hooks --event 'task.*'";

pub(in crate::args) const DELETE: &str = "\
Examples:
  bifrost webhooks delete WEBHOOK";

pub(in crate::args) const ROTATE: &str = "\
Examples:
  bifrost webhooks rotate WEBHOOK
  bifrost webhooks rotate WEBHOOK --overlap 12h";

pub(in crate::args) const PING: &str = "\
Examples:
  bifrost webhooks ping WEBHOOK";

pub(in crate::args) const DELIVERIES: &str = "\
Examples:
  bifrost webhooks deliveries WEBHOOK
  bifrost webhooks deliveries WEBHOOK --limit 10 --before DELIVERY";

pub(in crate::args) const REDELIVER: &str = "\
Examples:
  bifrost webhooks redeliver WEBHOOK DELIVERY";

pub(in crate::args) const VERIFY: &str = "\
Examples:
  bifrost webhooks verify WEBHOOK body.json --signature 'v1,…' --message-id ID --timestamp 1795000000";
