//! A connection string, parsed and not yet resolved: what it says, and nothing around it.
//!
//! The parse happens once, at the start; [`ConnectionString::resolve`] as often as a connection is
//! to be made, since files change while a program runs.

use std::fmt;

use super::{error::ConfigError, keyword, settings::Settings, url};

/// What a connection string says. `Debug` shows nothing of it: a password may be anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    pub(super) settings: Settings,
    /// For what neither the string nor the files nor the environment say.
    pub(super) defaults: Settings,
    /// Whether it says all there is to say: no variable and no file adds to it.
    pub(super) is_alone: bool,
}

impl ConnectionString {
    /// What is taken where nobody says anything.
    pub const DEFAULT: &str = "postgresql://localhost/postgres";

    /// A connection URI, or keywords and values.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Ok(Self {
            settings: settings(text)?,
            defaults: Settings::default(),
            is_alone: false,
        })
    }

    /// The same, to which no variable and no file adds anything.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            is_alone: true,
            ..self
        }
    }

    /// Nobody wrote one: the `PG*` variables count, and [`Self::DEFAULT`] for what they leave out.
    pub fn unset() -> Self {
        Self {
            settings: Settings::default(),
            defaults: settings(Self::DEFAULT).unwrap_or_default(),
            is_alone: false,
        }
    }
}

fn settings(text: &str) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    if url::is_url(text) {
        url::read(text, &mut settings)?;
    } else if keyword::is_list(text) {
        keyword::read(text, &mut settings)?;
    } else {
        return Err(ConfigError::Scheme);
    }
    Ok(settings)
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionString").finish_non_exhaustive()
    }
}
