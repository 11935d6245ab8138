//! The recipes of docs/recipes.md, each in a database of its own: what their SQL sends is what stands
//! beneath it.

use serde_json::json;

use crate::harness::{Bridge, Database};

const RECIPES: &str = include_str!("../../docs/recipes.md");

/// The blocks of a section, with their languages.
fn blocks(section: &str) -> Vec<(&str, &str)> {
    let fenced = section.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').unwrap())
        .collect()
}

/// The channel and the payload of a line as `alle listen` prints it.
fn notification(line: &str) -> (&str, &str) {
    line.strip_prefix('[').unwrap().split_once("] ").unwrap()
}

#[test]
fn each_recipe_sends_what_it_says() {
    let sections: Vec<_> = RECIPES.split("\n## ").skip(1).collect();
    assert_eq!(sections.len(), 6);
    for section in sections {
        let title = section.lines().next().unwrap();
        let database = Database::create();
        let bridge = Bridge::start(&database.url());
        let mut client = bridge.client();
        let blocks = blocks(section);
        let texts = blocks.iter().filter(|(language, _)| *language == "text");
        let expected: Vec<_> = texts
            .flat_map(|(_, text)| text.lines().map(notification))
            .collect();
        assert!(!expected.is_empty(), "{title}");
        for (channel, _) in &expected {
            client.subscribe(channel);
        }
        let mut sql = database.sql();
        for (language, text) in &blocks {
            match *language {
                "sql" => drop(sql.run(text)),
                "text" => {}
                other => panic!("{title}: nobody runs {other}"),
            }
        }
        for (channel, payload) in &expected {
            let heard = client.expect_type("notification");
            let wanted = (&json!(channel), &json!(payload));
            assert_eq!((&heard["channel"], &heard["payload"]), wanted, "{title}");
        }
        sql.notify(expected[0].0, "the end");
        assert_eq!(client.payload(), "the end", "{title}");
    }
}
