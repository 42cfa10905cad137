//! Who may see the pages.

/// The owner's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessConfig {
    /// Logins of people who see the server's own pages: deliveries, set-up.
    pub admins: Vec<String>,
    /// Pages of public repositories are for signed-in people too.
    pub sign_in_required: bool,
}

impl AccessConfig {
    /// `admins` separated by commas or spaces.
    pub fn new(admins: Option<&str>, sign_in_required: bool) -> Self {
        let admins = admins.unwrap_or_default().split([',', ' ']).map(str::trim);
        Self {
            admins: admins.filter(|login| !login.is_empty()).map(str::to_owned).collect(),
            sign_in_required,
        }
    }
}
