//! LISTEN clients for Rust side by side: their server ends their sessions, and then restarts. Who
//! noticed, who lost notifications, and who said so?
//!
//! Every client gets what its documentation shows first, on the same server at the same time. Each
//! line is printed as the program saw it; the tables below are made of these lines.

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use alle::{PostgresListener, Received, internals::sandbox::Sandbox};
use postgres::fallible_iterator::FallibleIterator as _;
use tokio_postgres::AsyncMessage;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One client's seen events, with the time since the start of the act.
#[derive(Clone)]
struct Journal {
    name: &'static str,
    lines: Arc<Mutex<Vec<Line>>>,
    began: Instant,
}

struct Line {
    at: Duration,
    what: What,
}

enum What {
    Heard(String),
    /// It says that something may be missing, or that the connection was lost.
    Told(String),
    /// The program would have to begin again itself.
    Ended(String),
}

impl Journal {
    fn new(name: &'static str, began: Instant) -> Self {
        let lines = Arc::default();
        Self { name, lines, began }
    }

    fn note(&self, what: What) {
        let at = self.began.elapsed();
        let text = match &what {
            What::Heard(payload) => format!("heard {payload:?}"),
            What::Told(text) => format!("told: {text}"),
            What::Ended(text) => format!("ended: {text}"),
        };
        println!("{:>7.1} s  {:<22} {text}", at.as_secs_f64(), self.name);
        self.lines.lock().unwrap().push(Line { at, what });
    }

    fn heard(&self, payload: &str) -> bool {
        let lines = self.lines.lock().unwrap();
        lines.iter().any(|it| matches!(&it.what, What::Heard(heard) if heard == payload))
    }

    fn first(&self, after: Duration, is: fn(&What) -> bool) -> Option<(Duration, String)> {
        let lines = self.lines.lock().unwrap();
        let found = lines.iter().find(|it| it.at >= after && is(&it.what))?;
        let text = match &found.what {
            What::Heard(text) | What::Told(text) | What::Ended(text) => text.clone(),
        };
        Some((found.at - after, text))
    }
}

fn alle(url: &str, journal: Journal) -> Result<(), Failure> {
    let (listener, notifications) = PostgresListener::connect(url, 1000).wait()?;
    listener.listen("c").wait()?;
    thread::spawn(move || {
        let _listener = listener;
        for received in notifications {
            journal.note(match received {
                Received::Notification(it) => What::Heard(it.payload),
                other => What::Told(format!("{other:?}")),
            });
        }
        journal.note(What::Ended("no more".to_owned()));
    });
    Ok(())
}

async fn sqlx_recv(url: String, journal: Journal) -> Result<(), Failure> {
    let mut listener = sqlx::postgres::PgListener::connect(&url).await?;
    listener.listen("c").await?;
    tokio::spawn(async move {
        loop {
            match listener.recv().await {
                Ok(it) => journal.note(What::Heard(it.payload().to_owned())),
                Err(error) => return journal.note(What::Ended(error.to_string())),
            }
        }
    });
    Ok(())
}

async fn sqlx_try_recv(url: String, journal: Journal) -> Result<(), Failure> {
    let mut listener = sqlx::postgres::PgListener::connect(&url).await?;
    listener.listen("c").await?;
    tokio::spawn(async move {
        loop {
            match listener.try_recv().await {
                Ok(Some(it)) => journal.note(What::Heard(it.payload().to_owned())),
                Ok(None) => journal.note(What::Told("None".to_owned())),
                Err(error) => return journal.note(What::Ended(error.to_string())),
            }
        }
    });
    Ok(())
}

async fn tokio_postgres(url: String, journal: Journal) -> Result<(), Failure> {
    let (client, mut connection) = ::tokio_postgres::connect(&url, ::tokio_postgres::NoTls).await?;
    tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(it))) => {
                    journal.note(What::Heard(it.payload().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return journal.note(What::Ended(error.to_string())),
                None => return journal.note(What::Ended("no more".to_owned())),
            }
        }
    });
    client.batch_execute("LISTEN c").await?;
    std::mem::forget(client);
    Ok(())
}

fn postgres(url: &str, journal: Journal) -> Result<(), Failure> {
    let mut client = ::postgres::Client::connect(url, ::postgres::NoTls)?;
    client.batch_execute("LISTEN c")?;
    thread::spawn(move || {
        let mut notifications = client.notifications();
        let mut notifications = notifications.blocking_iter();
        loop {
            match notifications.next() {
                Ok(Some(it)) => journal.note(What::Heard(it.payload().to_owned())),
                Ok(None) => return journal.note(What::Ended("no more".to_owned())),
                Err(error) => return journal.note(What::Ended(error.to_string())),
            }
        }
    });
    Ok(())
}

fn main() -> Result<(), Failure> {
    let server = Sandbox::start()?;
    let runtime = tokio::runtime::Runtime::new()?;
    for (title, harm) in [
        ("pg_terminate_backend of every session", kill as fn(&Sandbox) -> Result<(), Failure>),
        ("a restart of the server", restart),
    ] {
        act(&server, &runtime, title, harm)?;
    }
    Ok(())
}

/// All sessions of clients end; a notification is committed before any client can be back.
fn kill(server: &Sandbox) -> Result<(), Failure> {
    server.psql(
        "postgres",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid(); NOTIFY c, 'away';",
    )?;
    Ok(())
}

fn restart(server: &Sandbox) -> Result<(), Failure> {
    server.restart()?;
    server.psql("postgres", "NOTIFY c, 'away';")?;
    Ok(())
}

/// New clients, one notification, the harm, and a notification each second afterwards.
fn act(
    server: &Sandbox,
    runtime: &tokio::runtime::Runtime,
    title: &str,
    harm: fn(&Sandbox) -> Result<(), Failure>,
) -> Result<(), Failure> {
    println!("\n{title}\n");
    let url = server.url();
    let began = Instant::now();
    let names = ["alle", "sqlx, recv", "sqlx, try_recv", "tokio-postgres", "postgres"];
    let journals = names.map(|name| Journal::new(name, began));
    let [ours, recv, try_recv, tokio_, postgres_] = journals.clone();
    alle(&url, ours)?;
    runtime.block_on(sqlx_recv(url.clone(), recv))?;
    runtime.block_on(sqlx_try_recv(url.clone(), try_recv))?;
    runtime.block_on(tokio_postgres(url.clone(), tokio_))?;
    postgres(&url, postgres_)?;
    server.psql("postgres", "NOTIFY c, 'before';")?;
    wait(Duration::from_secs(10), || journals.iter().all(|it| it.heard("before")));

    let harmed = began.elapsed();
    harm(server)?;
    for number in 1..=SECONDS {
        thread::sleep(Duration::from_secs(1));
        server.psql("postgres", &format!("NOTIFY c, 'after {number}';"))?;
    }
    wait(Duration::from_secs(2), || false);
    println!("\n{}", table(&journals, harmed));
    Ok(())
}

fn wait(most: Duration, mut is_over: impl FnMut() -> bool) {
    let deadline = Instant::now() + most;
    while Instant::now() < deadline && !is_over() {
        thread::sleep(Duration::from_millis(10));
    }
}

fn table(journals: &[Journal], harmed: Duration) -> String {
    let mut table = String::from(
        "| client | told its program | lost | hears again by itself |\n| --- | --- | --- | --- |\n",
    );
    for journal in journals {
        let told = journal.first(harmed, |it| matches!(it, What::Told(_) | What::Ended(_)));
        let told = told.map_or_else(
            || "nothing".to_owned(),
            |(after, text)| format!("`{text}`, after {:.1} s", after.as_secs_f64()),
        );
        let payloads = (1..=SECONDS).map(|number| format!("after {number}"));
        let payloads: Vec<_> = std::iter::once("away".to_owned()).chain(payloads).collect();
        let lost = payloads.iter().filter(|it| !journal.heard(it)).count();
        let again = payloads.iter().find(|it| journal.heard(it));
        let again = again.map_or_else(|| "no".to_owned(), |it| format!("yes, from `{it}` on"));
        let of = payloads.len();
        writeln!(table, "| {} | {told} | {lost} of {of} | {again} |", journal.name)
            .expect("a string takes it");
    }
    table
}

/// So many notifications follow the harm, one a second.
const SECONDS: u32 = 8;
