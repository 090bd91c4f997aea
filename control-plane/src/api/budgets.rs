//! Budgets over HTTP.

use access::permission::{LimitsWrite, TasksRead};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use wire::budget::{BudgetChange, BudgetView, NewBudget};
use wire::id::BudgetId;
use wire::problem::Problem;
use work::budgets;

use super::body::{Body, Id, attempt};
use super::caller::Allowed;
use super::problem::ApiError;
use super::{App, State};

/// Every budget, in the period that lasts: that of all tasks first, then by project.
#[utoipa::path(
    get, path = "/budgets", tag = "budgets",
    responses((status = 200, body = Vec<BudgetView>), (status = 401, body = Problem)))]
pub(super) async fn list(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
) -> Result<Json<Vec<BudgetView>>, ApiError> {
    Ok(Json(budgets::list(&app.ctx, caller.tenant).await?))
}

/// One budget.
#[utoipa::path(
    get, path = "/budgets/{id}", tag = "budgets", params(("id" = BudgetId, Path)),
    responses((status = 200, body = BudgetView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn get(
    State(app): State<App>,
    Allowed(caller, _): Allowed<TasksRead>,
    Id(id): Id<BudgetId>,
) -> Result<Json<BudgetView>, ApiError> {
    Ok(Json(budgets::get(&app.ctx, caller.tenant, id).await?))
}

/// Makes a budget of a project, or of all tasks, by the day, the week or the month.
#[utoipa::path(
    post, path = "/budgets", tag = "budgets", request_body = NewBudget,
    params(("idempotency-key" = Option<String>, Header, description = "Makes a repeat give the first answer")),
    responses((status = 201, body = BudgetView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn create(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    headers: HeaderMap,
    Body(new): Body<NewBudget>,
) -> Result<(StatusCode, Json<BudgetView>), ApiError> {
    let attempt = attempt(&headers, "budgets.create", &new)?;
    let budget = budgets::create(&app.ctx, caller.tenant, new, attempt.as_ref()).await?;
    Ok((StatusCode::CREATED, Json(budget)))
}

/// Changes some fields of a budget; what was spent stays counted.
#[utoipa::path(
    patch, path = "/budgets/{id}", tag = "budgets", params(("id" = BudgetId, Path)), request_body = BudgetChange,
    responses((status = 200, body = BudgetView), (status = 400, body = Problem), (status = 401, body = Problem),
              (status = 403, body = Problem), (status = 404, body = Problem)))]
pub(super) async fn update(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    Id(id): Id<BudgetId>,
    Body(change): Body<BudgetChange>,
) -> Result<Json<BudgetView>, ApiError> {
    Ok(Json(budgets::update(&app.ctx, caller.tenant, id, change).await?))
}

/// Removes a budget. What it kept from starting may start.
#[utoipa::path(
    delete, path = "/budgets/{id}", tag = "budgets", params(("id" = BudgetId, Path)),
    responses((status = 204), (status = 401, body = Problem), (status = 403, body = Problem),
              (status = 404, body = Problem)))]
pub(super) async fn delete(
    State(app): State<App>,
    Allowed(caller, _): Allowed<LimitsWrite>,
    Id(id): Id<BudgetId>,
) -> Result<StatusCode, ApiError> {
    budgets::delete(&app.ctx, caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
