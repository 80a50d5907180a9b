//! The socket of the admin interface: TCP, or a Unix socket that only its owner can open.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use ringway_config::AdminAddress;
use tokio::net::{TcpListener, UnixListener};

/// A bound socket.
#[derive(Debug)]
pub(crate) enum AdminListener {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket, with its path for removal.
    Unix(UnixListener, SocketFile),
}

/// A socket's file, removed with its owner.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        ringway_engine::remove_socket(&self.0);
    }
}

impl AdminListener {
    /// Binds; to be called within the runtime.
    pub(crate) fn bind(address: &AdminAddress) -> io::Result<Self> {
        match address {
            AdminAddress::Tcp(address) => {
                let socket = std::net::TcpListener::bind(address)?;
                socket.set_nonblocking(true)?;
                Ok(Self::Tcp(TcpListener::from_std(socket)?))
            }
            AdminAddress::Unix(path) => bind_unix(path),
        }
    }

    /// The bound address, port 0 resolved.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(socket) => socket
                .local_addr()
                .map_or_else(|error| error.to_string(), |address| address.to_string()),
            Self::Unix(_, file) => format!("unix:{}", file.0.display()),
        }
    }

    /// Whether only this machine reaches it by TCP, where a browser may be tricked into asking (see `guard`).
    pub(crate) fn is_loopback(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket
                .local_addr()
                .is_ok_and(|address| address.ip().is_loopback()),
            Self::Unix(..) => false,
        }
    }
}

/// Binds beside the path, closes the file to others, and only then puts it in place: at no time can another user open it.
fn bind_unix(path: &Path) -> io::Result<AdminListener> {
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is there",
            ));
        }
        // Somebody answers there: as with a port, the second process is refused.
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(_) | Err(_) => {}
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = SocketFile(PathBuf::from(beside));
    let socket = UnixListener::bind(&beside.0)?;
    fs::set_permissions(&beside.0, fs::Permissions::from_mode(0o600))?;
    fs::rename(&beside.0, path)?;
    Ok(AdminListener::Unix(socket, SocketFile(path.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> io::Result<AdminListener> {
        AdminListener::bind(&AdminAddress::Unix(path.to_owned()))
    }

    #[test]
    fn a_unix_socket_is_its_owners_alone_and_goes_with_it() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");

        let first = bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(!path.exists());

        // What a killed process left behind is taken over; what is no socket is left alone.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        drop(bind(&path).unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(bind(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
