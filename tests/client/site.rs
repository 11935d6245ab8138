//! A server for development, as a person has one for a page of their own.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};

/// A server for development: one page, and the token for it.
pub struct Site {
    pub address: SocketAddr,
    pub page: Arc<Mutex<String>>,
    pub token: Arc<Mutex<String>>,
    /// What a page told it that it heard: a log in JSON.
    pub heard: Arc<Mutex<String>>,
}

impl Site {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Self {
            address: listener.local_addr().unwrap(),
            page: Arc::default(),
            token: Arc::default(),
            heard: Arc::default(),
        };
        let answer = site.answer();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // A browser opens connections that it may never use.
                let answer = answer.clone();
                thread::spawn(move || {
                    let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                    let target = head.first().and_then(|line| line.split(' ').nth(1));
                    let body = answer(target.unwrap_or_default());
                    let _ = write!(
                        stream,
                        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\
                         Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                });
            }
        });
        site
    }

    /// What it answers to a target.
    fn answer(&self) -> impl Fn(&str) -> String + Clone + Send + 'static {
        let (page, token) = (Arc::clone(&self.page), Arc::clone(&self.token));
        let heard = Arc::clone(&self.heard);
        move |target| match target.split_once('?') {
            None if target == "/" => page.lock().unwrap().clone(),
            None if target == "/token" => token.lock().unwrap().clone(),
            Some(("/heard", log)) => {
                let log = String::from_utf8(BASE64.decode(log).unwrap()).unwrap();
                let mut heard = heard.lock().unwrap();
                // Requests may overtake each other; a log only grows.
                if log.len() > heard.len() {
                    *heard = log;
                }
                String::new()
            }
            None | Some(_) => String::new(),
        }
    }
}
