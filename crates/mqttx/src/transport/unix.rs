//! Sockets of the file system.

use std::io;

use tokio::net::UnixStream;

use super::{ConnectError, Endpoint};

/// Connects to the socket.
///
/// # Errors
/// What is wrong with the path. A socket that is missing, or nobody listens at, may come: brokers make theirs
/// when they start.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<UnixStream, ConnectError> {
    let path =
        endpoint.socket_path().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let error = match UnixStream::connect(path).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    let is_socket = |file: std::fs::Metadata| {
        use std::os::unix::fs::FileTypeExt;
        file.file_type().is_socket()
    };
    let (permanent, problem) = match error.kind() {
        io::ErrorKind::NotFound => (false, "there is no such socket"),
        io::ErrorKind::PermissionDenied => {
            (true, "there is no permission to connect to the socket")
        }
        io::ErrorKind::InvalidInput => (true, "the path cannot be that of a socket"),
        io::ErrorKind::ConnectionRefused if !std::fs::metadata(path).is_ok_and(is_socket) => {
            (true, "the file is not a socket")
        }
        io::ErrorKind::ConnectionRefused => (false, "nobody listens at the socket"),
        _ => return Err(error.into()),
    };
    let error = io::Error::new(error.kind(), format!("{problem}: {error}"));
    Err(ConnectError { permanent, ..error.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqttx_test::TempDir;

    async fn failure(path: &std::path::Path) -> (bool, String) {
        let endpoint = format!("unix://{}", path.display()).parse().expect("an address");
        let error = connect(&endpoint).await.expect_err("no connection");
        (error.permanent, error.error.to_string())
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_path_is_said() {
        let directory = TempDir::new("unix");
        let path = directory.path().join("broker.sock");
        let (permanent, text) = failure(&path).await;
        assert!(!permanent && text.starts_with("there is no such socket: "), "{text}");
        std::fs::write(&path, "").expect("a file");
        let (permanent, text) = failure(&path).await;
        assert!(permanent && text.starts_with("the file is not a socket: "), "{text}");
        std::fs::remove_file(&path).expect("removed");
        drop(tokio::net::UnixListener::bind(&path).expect("a socket"));
        let (permanent, text) = failure(&path).await;
        assert!(!permanent && text.starts_with("nobody listens at the socket: "), "{text}");
        let (permanent, text) = failure(&directory.path().join("x".repeat(200))).await;
        assert!(permanent && text.starts_with("the path cannot be that of a socket: "), "{text}");
    }
}
