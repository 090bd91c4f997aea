//! What people write beside tasks.

use std::collections::BTreeMap;

use wire::id::TaskId;
use wire::metadata::{CustomField, MetadataAnswer, MetadataView, NewMetadata, Tags};
use wire::task::TaskView;

use super::{Control, path_part};
use crate::Error;

impl Control {
    /// Gives a key of a task its value.
    pub async fn set_metadata(&self, task: TaskId, new: &NewMetadata) -> Result<MetadataView, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{task}/metadata")).json(new)).await
    }

    /// Every key of a task, or the value of the one that is named.
    pub async fn metadata(&self, task: TaskId, key: Option<&str>) -> Result<MetadataAnswer, Error> {
        let query: Vec<(&str, &str)> = key.map(|key| ("key", key)).into_iter().collect();
        self.service.json(self.get(&format!("/v1/tasks/{task}/metadata")).query(&query)).await
    }

    /// Every key of several tasks, by the tasks' ids.
    pub async fn metadata_of_tasks(
        &self,
        tasks: &[TaskId],
    ) -> Result<BTreeMap<TaskId, BTreeMap<String, String>>, Error> {
        self.service.json(self.post("/v1/tasks/metadata/batch").json(tasks)).await
    }

    /// Every key in use and on how many tasks.
    pub async fn custom_fields(&self) -> Result<Vec<CustomField>, Error> {
        self.service.json(self.get("/v1/schema/custom-fields")).await
    }

    /// Gives a task these tags in place of those it has.
    pub async fn tag(&self, task: TaskId, tags: &Tags) -> Result<Tags, Error> {
        self.service.json(self.post(&format!("/v1/tasks/{task}/tags")).json(tags)).await
    }

    /// Tasks that carry the tag.
    pub async fn tagged(&self, tag: &str) -> Result<Vec<TaskView>, Error> {
        self.service.json(self.get(&format!("/v1/tasks/by-tag/{}", path_part(tag)))).await
    }
}
