//! The demo's certificate: made at its start, gone with its end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

/// A certificate for `localhost` with its key, in a folder that only we can read.
pub(super) struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    /// Makes one.
    pub(super) fn make() -> io::Result<Self> {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
        let folder = std::env::temp_dir().join(format!("ringway-demo-{}", std::process::id()));
        // One that is there already is not ours, and may be somebody's trap.
        DirBuilder::new().mode(0o700).create(&folder)?;
        let certificate = Self { folder };
        fs::write(certificate.cert(), made.cert.pem())?;
        fs::write(certificate.key(), made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// Where the certificate is.
    pub(super) fn cert(&self) -> PathBuf {
        self.folder.join("demo.pem")
    }

    /// Where the key is.
    pub(super) fn key(&self) -> PathBuf {
        self.folder.join("demo.key")
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // What cannot be removed is in a folder for what may be removed by anybody.
        let _left = fs::remove_dir_all(&self.folder);
    }
}
