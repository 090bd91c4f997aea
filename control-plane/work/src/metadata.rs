//! Metadata: what people and programs write beside a task, as keys with values
//! (rows CAIRN-31 to CAIRN-36). Tags are one key, whose value is a JSON array; so
//! is, as an id, the worker to whom somebody gave the task.

pub(crate) mod store;

use std::collections::{BTreeMap, BTreeSet};

use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::{MetadataId, TaskId, TenantId};
use wire::limit::{METADATA_KEY_CHARS, METADATA_TASKS, METADATA_VALUE_CHARS, TAG_CHARS, TAGS_PER_TASK};
use wire::metadata::{
    AGENT_TYPE_KEY, CustomField, MetadataAnswer, MetadataView, NewMetadata, SCORE_KEY, STRATEGY_KEY, TAGS_KEY, Tags,
    check_agent_type,
};
use wire::task::TaskView;

use crate::{strategies, tasks};

/// Gives a key of a task its value, in place of an earlier one (row CAIRN-31).
#[tracing::instrument(skip_all, fields(task.id = %task))]
pub async fn set(ctx: &Ctx, tenant: TenantId, task: TaskId, new: NewMetadata) -> Result<MetadataView> {
    if new.key.trim().is_empty() || new.key.chars().count() > METADATA_KEY_CHARS || new.key.contains('\0') {
        return Err(Error::invalid("key", format!("must have 1 to {METADATA_KEY_CHARS} characters")));
    }
    if new.value.chars().count() > METADATA_VALUE_CHARS || new.value.contains('\0') {
        return Err(Error::invalid("value", format!("must have at most {METADATA_VALUE_CHARS} characters")));
    }
    if new.key == TAGS_KEY {
        // Lists by tag read it as what it has to be.
        let tags = serde_json::from_str::<Vec<String>>(&new.value);
        check_tags(
            &tags.map_err(|_| Error::invalid("value", "must be a JSON array of tags under this key"))?,
            "value",
        )?;
    }
    if new.key == AGENT_TYPE_KEY {
        check_agent_type(&new.value).map_err(|error| Error::invalid("value", error.message))?;
    }
    if new.key == SCORE_KEY && !is_score(&new.value) {
        return Err(Error::invalid("value", "must be a number from 0 to 100 under this key, such as 87.5"));
    }
    let mut tx = ctx.begin("metadata.set").await?;
    // Locked, so that it is not deleted in between.
    tasks::load_locked(&mut tx, tenant, task).await?;
    if new.key == STRATEGY_KEY && !strategies::is_one(&mut tx, tenant, &new.value).await? {
        return Err(Error::invalid(
            "value",
            "names no failure strategy; `bifrost strategies list` shows those there are",
        ));
    }
    let view = set_audited(ctx, &mut tx, tenant, task, &new.key, &new.value).await?;
    tx.commit(view).await
}

/// Whether both databases read the text as the same number, from 0 to 100.
fn is_score(text: &str) -> bool {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits =
        |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole, 3) && are_digits(part, 9) && text.parse::<f64>().is_ok_and(|number| number <= 100.0)
}

/// Writes a key, as a change of its own.
async fn set_audited(
    ctx: &Ctx,
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    key: &str,
    value: &str,
) -> Result<MetadataView> {
    let before = store::get(tx, tenant, task, key).await?;
    let view = write(ctx, tx, tenant, task, key, value).await?;
    let change = Change::between(&json!({ key: before }), &json!({ key: value }))?;
    audit::write(ctx, tx, kind::METADATA_SET, &Entity::new(tenant, "task", task), &change).await?;
    Ok(view)
}

/// Writes a key of a task that is locked.
pub(crate) async fn write(
    ctx: &Ctx,
    tx: &mut Tx,
    tenant: TenantId,
    task: TaskId,
    key: &str,
    value: &str,
) -> Result<MetadataView> {
    let view = store::set(tx, tenant, task, (ctx.id(MetadataId::mint), ctx.now()), key, value).await?;
    tell(ctx, tx, tenant, task, key).await?;
    Ok(view)
}

/// How many entries [`write_many`] takes.
pub(crate) const MANY: usize = 4_000;

/// Writes entries of many tasks, of those that there still are. Says nothing of it to the outside: who asks does.
pub(crate) async fn write_many(
    ctx: &Ctx,
    tx: &mut Tx,
    tenant: TenantId,
    entries: &[(TaskId, &str, String)],
) -> Result<()> {
    let entries: Vec<_> =
        entries.iter().map(|(task, key, value)| (ctx.id(MetadataId::mint), *task, *key, value.as_str())).collect();
    store::set_many(tx, tenant, &entries, ctx.now()).await
}

/// Removes a key of a task that is locked, if it is there.
pub(crate) async fn clear(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, task: TaskId, key: &str) -> Result<()> {
    if store::unset(tx, tenant, task, key).await? { tell(ctx, tx, tenant, task, key).await } else { Ok(()) }
}

/// Gives a task that is locked one more tag.
pub(crate) async fn add_tag(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, task: TaskId, tag: &str) -> Result<()> {
    let mut tags = tags_of(tx, tenant, task).await?;
    if tags.iter().any(|there| there == tag) {
        return Ok(());
    }
    tags.push(tag.to_owned());
    write(ctx, tx, tenant, task, TAGS_KEY, &json!(tags).to_string()).await.map(drop)
}

/// Takes a tag from a task that is locked, if it carries it.
pub(crate) async fn remove_tag(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, task: TaskId, tag: &str) -> Result<()> {
    let mut tags = tags_of(tx, tenant, task).await?;
    let before = tags.len();
    tags.retain(|there| there != tag);
    match tags.len() {
        after if after == before => Ok(()),
        0 => clear(ctx, tx, tenant, task, TAGS_KEY).await,
        _ => write(ctx, tx, tenant, task, TAGS_KEY, &json!(tags).to_string()).await.map(drop),
    }
}

async fn tags_of(tx: &mut Tx, tenant: TenantId, task: TaskId) -> Result<Vec<String>> {
    let text = store::get(tx, tenant, task, TAGS_KEY).await?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// The key alone: a value may be as long as a description, and is whatever people put there.
async fn tell(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, task: TaskId, key: &str) -> Result<()> {
    if matches!(key, TAGS_KEY | AGENT_TYPE_KEY) {
        // Somebody may wait for just such a task.
        tx.nudge(tasks::READY_NUDGE);
    }
    outbox::push(ctx, tx, kind::METADATA_SET, About::task(tenant, task), &json!({ "key": key })).await
}

/// Every key of a task, or the value of the one that is named (row CAIRN-32).
pub async fn get(ctx: &Ctx, tenant: TenantId, task: TaskId, key: Option<&str>) -> Result<MetadataAnswer> {
    let mut tx = ctx.read("metadata.get").await?;
    tasks::load(&mut tx, tenant, task).await?;
    match key {
        None => Ok(MetadataAnswer::All(store::of_task(&mut tx, tenant, task).await?)),
        // Postgres keeps no NUL, so nothing can be called so.
        Some(key) if key.contains('\0') => Err(Error::NotFound { what: "metadata key" }),
        Some(key) => {
            let value = store::get(&mut tx, tenant, task, key).await?;
            value.map(MetadataAnswer::One).ok_or(Error::NotFound { what: "metadata key" })
        }
    }
}

/// Every key of several tasks (row CAIRN-33). What does not exist is left out.
pub async fn of_tasks(
    ctx: &Ctx,
    tenant: TenantId,
    tasks: &[TaskId],
) -> Result<BTreeMap<TaskId, BTreeMap<String, String>>> {
    if tasks.len() > METADATA_TASKS {
        return Err(Error::invalid("task ids", format!("must be at most {METADATA_TASKS}")));
    }
    let mut tx = ctx.read("metadata.of_tasks").await?;
    store::of_tasks(&mut tx, tenant, tasks).await
}

/// Every key in use and how many tasks have it (row CAIRN-36).
pub async fn custom_fields(ctx: &Ctx, tenant: TenantId) -> Result<Vec<CustomField>> {
    let mut tx = ctx.read("metadata.custom_fields").await?;
    store::keys(&mut tx, tenant).await
}

/// Gives a task these tags in place of those it has; each counts once (row CAIRN-35).
#[tracing::instrument(skip_all, fields(task.id = %task))]
pub async fn tag(ctx: &Ctx, tenant: TenantId, task: TaskId, tags: Tags) -> Result<Tags> {
    check_tags(&tags.tags, "tags")?;
    let mut seen = BTreeSet::new();
    let tags: Vec<String> = tags.tags.into_iter().filter(|tag| seen.insert(tag.clone())).collect();
    let value = serde_json::to_string(&tags).map_err(|error| Error::Internal(error.into()))?;
    let mut tx = ctx.begin("metadata.tag").await?;
    tasks::load_locked(&mut tx, tenant, task).await?;
    set_audited(ctx, &mut tx, tenant, task, TAGS_KEY, &value).await?;
    tx.commit(Tags { tags }).await
}

fn check_tags(tags: &[String], field: &str) -> Result<()> {
    let is_long = |tag: &String| tag.chars().count() > TAG_CHARS;
    if tags.len() > TAGS_PER_TASK || tags.iter().any(|tag| tag.trim().is_empty() || is_long(tag) || tag.contains('\0'))
    {
        let message = format!("must be at most {TAGS_PER_TASK} tags of 1 to {TAG_CHARS} characters");
        return Err(Error::invalid(field, message));
    }
    Ok(())
}

/// Tasks that carry the tag, most urgent and then oldest first (row CAIRN-35).
pub async fn tagged(ctx: &Ctx, tenant: TenantId, tag: &str) -> Result<Vec<TaskView>> {
    if tag.contains('\0') {
        return Err(Error::invalid("tag", "must not have a NUL character"));
    }
    let mut tx = ctx.read("metadata.tagged").await?;
    let tagged = tasks::store::tagged(&mut tx, tenant, tag).await?;
    tasks::views(&mut tx, tenant, tagged).await
}

#[cfg(test)]
mod tests;
