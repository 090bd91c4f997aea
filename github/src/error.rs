//! Why the host did not do it.

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refuses, and would again. The words are its own.
    #[error("{host} refuses ({status}): {message}{}", cure(.status))]
    Refused {
        /// Who.
        host: String,
        /// The HTTP status.
        status: u16,
        /// What it says of it, bounded.
        message: String,
    },
    /// It asks for patience beyond what there is.
    #[error("{host} asks to wait: too many requests are made with this token")]
    Limited {
        /// Who.
        host: String,
    },
    /// It does not answer, or not in time; whether something was done is not known.
    #[error("{host} does not answer: {message}")]
    Unreachable {
        /// Who.
        host: String,
        /// How that showed.
        message: String,
    },
    /// It answers something else than its documentation says.
    #[error("{host} answers something that is not understood: {message}")]
    Odd {
        /// Who.
        host: String,
        /// What is odd.
        message: String,
    },
}

fn cure(status: &u16) -> &'static str {
    match status {
        401 => "; the token is wrong or has expired",
        403 => "; the token may not do this",
        301 | 307 | 308 => "; the repository has another name by now: use that one",
        404 => "; there is no such repository, or the token may not see it",
        _ => "",
    }
}

impl Error {
    /// Whether it may have been done all the same, so that one has to look.
    pub(crate) fn is_unclear(&self) -> bool {
        !matches!(self, Self::Refused { status, .. } if *status != 422) && !matches!(self, Self::Limited { .. })
    }
}
