//! Many new tasks at once, and how they depend on each other.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::dependency::{DependencyType, check_group};
use crate::outcome::Condition;
use crate::task::{FieldError, NewTask};

/// New tasks, as sent to `POST /v1/tasks/batch`: all of them are submitted, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum NewBatch {
    /// A plain list, of 1 to 100.
    List(Vec<NewTask>),
    /// A list and the dependencies within it.
    Graph(NewGraph),
}

/// New tasks and the dependencies between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NewGraph {
    /// 1 to 100 tasks.
    pub tasks: Vec<NewTask>,
    /// What they need of each other; up to 1,000.
    #[serde(default)]
    pub dependencies: Vec<BatchDependency>,
}

/// A dependency between two tasks of a batch, each named by its place in the list, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchDependency {
    /// The task that needs the other.
    pub task: usize,
    /// The task that is needed.
    pub depends_on: usize,
    /// `hard` when absent.
    #[serde(default = "DependencyType::usual")]
    pub dependency_type: DependencyType,
    /// What must be true of the task that is needed; `completed` when absent.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub condition: Condition,
    /// Of the dependencies of one task with the same label, one suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl BatchDependency {
    /// On the completion of another task of the batch.
    pub fn on(task: usize, depends_on: usize) -> Self {
        let (dependency_type, condition) = (DependencyType::Hard, Condition::Completed);
        Self { task, depends_on, dependency_type, condition, group: None }
    }

    /// Refuses a label that is out of bounds, or of a dependency that blocks nothing anyway.
    pub fn validate(&self) -> Result<(), FieldError> {
        check_group(self.group.as_deref(), self.dependency_type)
    }
}

impl From<NewBatch> for NewGraph {
    fn from(batch: NewBatch) -> Self {
        match batch {
            NewBatch::List(tasks) => Self { tasks, dependencies: Vec::new() },
            NewBatch::Graph(graph) => graph,
        }
    }
}

// By hand: the derived form of an untagged enum tries one shape after the other and
// then cannot say which field was wrong.
impl<'de> Deserialize<'de> for NewBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shape)
    }
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = NewBatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tasks, or an object with `tasks` and `dependencies`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<NewBatch, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(NewBatch::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<NewBatch, A::Error> {
        NewGraph::deserialize(MapAccessDeserializer::new(object)).map(NewBatch::Graph)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_list_or_an_object_and_nothing_else() {
        let read = |text: &str| serde_json::from_str::<NewBatch>(text).map(NewGraph::from);
        assert_eq!(read(r#"[{"title":"a"}]"#).expect("a list").tasks.len(), 1);
        let graph = read(r#"{"tasks":[{"title":"a"},{"title":"b"}],"dependencies":[{"task":1,"depends_on":0}]}"#);
        assert_eq!(graph.expect("an object").dependencies, [BatchDependency::on(1, 0)]);
        for (wrong, said) in [
            ("7", "a list of tasks"),
            (r#"{"tasks":[],"dependancies":[]}"#, "dependancies"),
            (r#"[{"title":"a","prority":1}]"#, "prority"),
            (r#"{"tasks":[],"dependencies":[{"task":-1,"depends_on":0}]}"#, "-1"),
        ] {
            let error = read(wrong).expect_err("is refused").to_string();
            assert!(error.contains(said), "{wrong}: {error}");
        }
    }
}
