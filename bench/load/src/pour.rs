//! One long answer, read by a client that stops on the way: what the proxy holds then shows in its peak memory.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::args::Args;
use crate::error::LoadError;

/// As long as nothing comes for this time, nothing will.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// Reads one answer to its end and prints how long it was and how long it took as one JSON object.
pub(crate) fn run(args: &Args) -> Result<(), LoadError> {
    let target: SocketAddr = args.need("target")?;
    let path: String = args.need("path")?;
    let pause_at: u64 = args.find("pause-at")?.unwrap_or(u64::MAX);
    let pause = match args.find::<String>("pause")? {
        Some(_) => args.seconds("pause")?,
        None => Duration::ZERO,
    };
    let mut stream = TcpStream::connect(target).map_err(LoadError::io("connect"))?;
    stream
        .set_read_timeout(Some(READ_TIMEOUT))
        .map_err(LoadError::io("read timeout"))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .map_err(LoadError::io("send"))?;
    let started = Instant::now();
    let mut buffer = vec![0; 256 << 10];
    let (mut bytes, mut paused) = (0_u64, false);
    loop {
        let count = stream.read(&mut buffer).map_err(LoadError::io("receive"))?;
        if count == 0 {
            break;
        }
        bytes += count as u64;
        if bytes >= pause_at && !paused {
            paused = true;
            std::thread::sleep(pause);
        }
    }
    let seconds = started.elapsed().saturating_sub(pause).as_secs_f64();
    println!("{{\"bytes\":{bytes},\"seconds\":{seconds:.6}}}");
    Ok(())
}
