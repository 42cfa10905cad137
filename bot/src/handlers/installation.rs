//! The App was installed, suspended, removed, or given other repositories: rows follow, open pull requests are looked at.

use crate::app::App;
use crate::missed;
use crate::presence;
use crate::pull::InstallationId;

pub async fn handle(app: &App, installation: InstallationId) -> anyhow::Result<()> {
    let covered = presence::settle(app, installation).await?;
    missed::sweep_repositories(app, &covered).await;
    Ok(())
}
