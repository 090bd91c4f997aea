//! Pure: which action a route is, by the OpenAPI document's name for it.

use std::collections::BTreeSet;

use fly::Action;

use crate::document;

/// Every route of the Machines API that is served here: method, path and action.
const OPERATIONS: [(&str, &str, Action); 70] = {
    use Action::*;
    [
        ("get", "/apps", ListApps),
        ("post", "/apps", CreateApp),
        ("get", "/apps/{app_name}", ReadApp),
        ("delete", "/apps/{app_name}", DeleteApp),
        ("get", "/apps/{app_name}/machines", ListMachines),
        ("post", "/apps/{app_name}/machines", CreateMachine),
        ("get", "/apps/{app_name}/machines/{machine_id}", ReadMachine),
        ("post", "/apps/{app_name}/machines/{machine_id}", UpdateMachine),
        ("delete", "/apps/{app_name}/machines/{machine_id}", DestroyMachine),
        ("post", "/apps/{app_name}/machines/{machine_id}/start", Start),
        ("post", "/apps/{app_name}/machines/{machine_id}/stop", Stop),
        ("post", "/apps/{app_name}/machines/{machine_id}/suspend", Suspend),
        ("post", "/apps/{app_name}/machines/{machine_id}/restart", Restart),
        ("post", "/apps/{app_name}/machines/{machine_id}/cordon", Cordon),
        ("post", "/apps/{app_name}/machines/{machine_id}/uncordon", Uncordon),
        ("get", "/apps/{app_name}/machines/{machine_id}/wait", Wait),
        ("get", "/apps/{app_name}/machines/{machine_id}/events", ReadEvents),
        ("get", "/apps/{app_name}/machines/{machine_id}/versions", ReadVersions),
        ("post", "/apps/{app_name}/machines/{machine_id}/exec", Exec),
        ("get", "/apps/{app_name}/machines/{machine_id}/ps", ListProcesses),
        ("post", "/apps/{app_name}/machines/{machine_id}/signal", Signal),
        ("get", "/apps/{app_name}/machines/{machine_id}/memory", ReadMemory),
        ("put", "/apps/{app_name}/machines/{machine_id}/memory", WriteMemory),
        ("post", "/apps/{app_name}/machines/{machine_id}/memory/reclaim", WriteMemory),
        ("get", "/apps/{app_name}/machines/{machine_id}/lease", ReadLease),
        ("post", "/apps/{app_name}/machines/{machine_id}/lease", AcquireLease),
        ("delete", "/apps/{app_name}/machines/{machine_id}/lease", ReleaseLease),
        ("get", "/apps/{app_name}/machines/{machine_id}/metadata", ReadMetadata),
        ("put", "/apps/{app_name}/machines/{machine_id}/metadata", WriteMetadata),
        ("patch", "/apps/{app_name}/machines/{machine_id}/metadata", WriteMetadata),
        ("get", "/apps/{app_name}/machines/{machine_id}/metadata/{key}", ReadMetadata),
        ("post", "/apps/{app_name}/machines/{machine_id}/metadata/{key}", WriteMetadata),
        ("delete", "/apps/{app_name}/machines/{machine_id}/metadata/{key}", WriteMetadata),
        ("get", "/apps/{app_name}/volumes", ListVolumes),
        ("post", "/apps/{app_name}/volumes", CreateVolume),
        ("get", "/apps/{app_name}/volumes/{volume_id}", ReadVolume),
        ("put", "/apps/{app_name}/volumes/{volume_id}", UpdateVolume),
        ("delete", "/apps/{app_name}/volumes/{volume_id}", DestroyVolume),
        ("put", "/apps/{app_name}/volumes/{volume_id}/extend", ExtendVolume),
        ("get", "/apps/{app_name}/volumes/{volume_id}/snapshots", ListSnapshots),
        ("post", "/apps/{app_name}/volumes/{volume_id}/snapshots", CreateSnapshot),
        ("get", "/apps/{app_name}/secrets", ListSecrets),
        ("post", "/apps/{app_name}/secrets", WriteSecrets),
        ("get", "/apps/{app_name}/secrets/{secret_name}", ListSecrets),
        ("post", "/apps/{app_name}/secrets/{secret_name}", WriteSecrets),
        ("delete", "/apps/{app_name}/secrets/{secret_name}", WriteSecrets),
        ("get", "/apps/{app_name}/secretkeys", ListSecretKeys),
        ("get", "/apps/{app_name}/secretkeys/{secret_name}", ListSecretKeys),
        ("post", "/apps/{app_name}/secretkeys/{secret_name}", WriteSecretKeys),
        ("delete", "/apps/{app_name}/secretkeys/{secret_name}", WriteSecretKeys),
        ("post", "/apps/{app_name}/secretkeys/{secret_name}/generate", WriteSecretKeys),
        ("post", "/apps/{app_name}/secretkeys/{secret_name}/sign", UseSecretKey),
        ("post", "/apps/{app_name}/secretkeys/{secret_name}/verify", UseSecretKey),
        ("post", "/apps/{app_name}/secretkeys/{secret_name}/encrypt", UseSecretKey),
        ("post", "/apps/{app_name}/secretkeys/{secret_name}/decrypt", UseSecretKey),
        ("get", "/apps/{app_name}/certificates", ListCertificates),
        ("post", "/apps/{app_name}/certificates/acme", WriteCertificates),
        ("post", "/apps/{app_name}/certificates/custom", WriteCertificates),
        ("get", "/apps/{app_name}/certificates/{hostname}", ListCertificates),
        ("delete", "/apps/{app_name}/certificates/{hostname}", WriteCertificates),
        ("delete", "/apps/{app_name}/certificates/{hostname}/acme", WriteCertificates),
        ("delete", "/apps/{app_name}/certificates/{hostname}/custom", WriteCertificates),
        ("post", "/apps/{app_name}/certificates/{hostname}/check", ListCertificates),
        ("get", "/apps/{app_name}/ip_assignments", ListAddresses),
        ("post", "/apps/{app_name}/ip_assignments", AssignAddress),
        ("delete", "/apps/{app_name}/ip_assignments/{ip}", ReleaseAddress),
        ("get", "/orgs/{org_slug}/machines", ListOrgMachines),
        ("get", "/orgs/{org_slug}/volumes", ListOrgVolumes),
        ("post", "/platform/placements", FindPlacements),
        ("get", "/platform/regions", ListRegions),
    ]
};

/// Which actions are served here; the client knows those of the Sprites API, too.
pub(crate) fn actions() -> BTreeSet<Action> {
    OPERATIONS.iter().map(|(.., action)| *action).collect()
}

/// A call of one of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Operation<'a> {
    /// The document's name for the path.
    pub(super) template: &'static str,
    pub(super) action: Action,
    pub(super) app: &'a str,
    /// The machine or volume that it is about, if it is about one.
    pub(super) id: Option<&'a str>,
    /// Whose rate limit it falls under.
    pub(super) subject: &'a str,
}

/// Which operation a path behind `/v1` is; nothing for what is not served here.
pub(super) fn find<'a>(method: &str, path: &'a str) -> Option<Operation<'a>> {
    let is_it = |template: &str| document::matches(template, path);
    let (_, template, action) =
        OPERATIONS.iter().find(|(known, template, _)| *known == method && is_it(template)).copied()?;
    let value = |wanted: &str| {
        template.split('/').zip(path.split('/')).find(|(name, _)| *name == wanted).map(|(_, given)| given)
    };
    let app = value("{app_name}").unwrap_or_default();
    let id = value("{machine_id}").or_else(|| value("{volume_id}"));
    Some(Operation { template, action, app, id, subject: id.or_else(|| value("{org_slug}")).unwrap_or(app) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_flys_document_and_the_page_names_those_that_are_not_here() {
        let page = include_str!("../../../../docs/emulator.md");
        for (method, path, _) in OPERATIONS {
            assert!(document::routes().any(|route| route == (method, path)), "{method} {path}");
        }
        let served =
            |(method, path)| OPERATIONS.iter().any(|(known, template, _)| (*known, *template) == (method, path));
        for (method, path) in document::routes().filter(|route| !served(*route)) {
            let named = format!("`{} {path}`", method.to_ascii_uppercase());
            assert!(page.contains(&named), "{named} is not on the page");
        }
    }

    #[test]
    fn a_call_is_known_by_its_method_and_path() {
        let found = find("post", "/apps/runners/machines/148ed599c14698/start").expect("an operation");
        assert_eq!((found.action, found.app, found.id), (Action::Start, "runners", Some("148ed599c14698")));
        assert_eq!(find("get", "/orgs/personal/machines").map(|found| found.subject), Some("personal"));
        assert_eq!(
            find("post", "/apps/runners/machines").map(|found| (found.subject, found.id)),
            Some(("runners", None))
        );
        assert_eq!(find("put", "/apps"), None);
        assert_eq!(find("get", "/apps/runners/nothing"), None);
    }
}
