//! The examples of what is done with a claim.

pub(in crate::args) const RENEW: &str = "\
Examples:
  bifrost renew EXECUTION
  bifrost renew EXECUTION --lease 8h";

pub(in crate::args) const COMPLETE: &str = "\
Examples:
  bifrost complete EXECUTION
  bifrost complete EXECUTION --cost 0.125 --tokens 40000
  bifrost complete EXECUTION --failed --message 'the tests fail'
  bifrost complete EXECUTION OTHER ANOTHER

Of several, each counts by itself, with the same options; the exit code is 0 only if all of them ended so.";

pub(in crate::args) const RELEASE: &str = "\
Examples:
  bifrost release EXECUTION
  bifrost release EXECUTION --reason 'needs somebody with access'";
