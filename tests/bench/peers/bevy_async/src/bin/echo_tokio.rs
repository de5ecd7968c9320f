//! The echo work on tokio: prints its port and echoes until it is killed.
//! argument: `current`, all on one thread, or `multi`, tokio's default.
use std::io::Write;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

async fn echo(mut conn: TcpStream) -> std::io::Result<()> {
    conn.set_nodelay(true)?;
    let mut bytes = [0; 4096];
    loop {
        let count = conn.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        conn.write_all(&bytes[..count]).await?;
    }
}

async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    loop {
        let (conn, _) = listener.accept().await?;
        tokio::spawn(echo(conn));
    }
}

fn main() -> std::io::Result<()> {
    let mut builder = match std::env::args().nth(1).as_deref() {
        Some("current") => Builder::new_current_thread(),
        Some("multi") => Builder::new_multi_thread(),
        _ => panic!("usage: echo_tokio current|multi"),
    };
    // `multi`: the accepting loop is a task too, so it need not move between threads
    let runtime = builder.enable_io().build()?;
    runtime.block_on(async { tokio::spawn(serve()).await.expect("serve does not panic") })
}
