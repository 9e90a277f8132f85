//! A small HTTP/1.1 client that keeps its connection: enough for our own server, and light enough
//! not to be what a bench measures.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Result;

pub struct Client {
    port: u16,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub fn new(port: u16) -> Client {
        Client { port, stream: None }
    }

    /// Status and body.
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>)> {
        let answer = self.try_request(method, path, content_type, body);
        if answer.is_err() {
            self.stream = None;
        }
        answer.map_err(|e| format!("{method} {path}: {e}"))
    }

    fn try_request(
        &mut self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let s = TcpStream::connect(("127.0.0.1", self.port))?;
                s.set_nodelay(true)?;
                s.set_read_timeout(Some(Duration::from_secs(60)))?;
                none.insert(BufReader::with_capacity(64 << 10, s))
            }
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        stream.get_mut().write_all(&message)?;
        read_answer(stream)
    }

    /// GET as JSON; an error for any status but 200.
    pub fn get(&mut self, path: &str) -> Result<Value> {
        let (status, body) = self.request("GET", path, "application/json", b"")?;
        json(status, &body)
    }

    /// Rows of a query.
    pub fn sql(&mut self, query: &str) -> Result<Vec<Vec<Value>>> {
        let body = serde_json::json!({ "query": query }).to_string();
        let (status, body) =
            self.request("POST", "/api/sql", "application/json", body.as_bytes())?;
        let answer = json(status, &body)?;
        if answer["rows_omitted"] == Value::Bool(true) {
            return Err(format!("'{query}' gave more rows than query.rows_max"));
        }
        let rows = answer["rows"].as_array().ok_or("an answer without rows")?;
        Ok(rows.iter().filter_map(|r| r.as_array().cloned()).collect())
    }
}

fn json(status: u16, body: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(body);
    match status {
        200 => serde_json::from_str(&text).map_err(|e| format!("{e} in {text}")),
        _ => Err(format!("status {status}: {text}")),
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> std::io::Result<(u16, Vec<u8>)> {
    let bad = |what: &str| std::io::Error::other(what.to_string());
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(bad("the server closed the connection"));
    }
    let status =
        line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| bad("status"))?;
    let (mut length, mut chunked) = (0usize, false);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(n) = header.strip_prefix("content-length:") {
            length = n.trim().parse().map_err(|_| bad("content-length"))?;
        }
        chunked |= header.starts_with("transfer-encoding:") && header.contains("chunked");
    }
    if !chunked {
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        return Ok((status, body));
    }
    let mut body = vec![];
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let n = usize::from_str_radix(line.trim(), 16).map_err(|_| bad("chunk size"))?;
        let start = body.len();
        body.resize(start + n, 0);
        stream.read_exact(&mut body[start..])?;
        line.clear();
        stream.read_line(&mut line)?;
        if n == 0 {
            return Ok((status, body));
        }
    }
}
