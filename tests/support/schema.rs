//! docs/protocol.schema.json: whether a message of the bridge is one of it, with no property that is not there.

use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// The file.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../docs/protocol.schema.json")).unwrap()
});
static MESSAGES: LazyLock<Definition> = LazyLock::new(|| Definition::closed("message"));
static EVENTS: LazyLock<Definition> = LazyLock::new(|| Definition::closed("event"));
static ANSWERS: LazyLock<Definition> = LazyLock::new(|| Definition::closed("answer"));

/// One definition of the schema.
pub struct Definition {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Definition {
    /// As it stands in the file.
    pub fn of(name: &str) -> Self {
        Self::compile(&SCHEMA, name)
    }

    /// The file lets readers ignore what a later version may add; this version sends nothing that is
    /// not in it.
    fn closed(name: &str) -> Self {
        let mut schema = SCHEMA.clone();
        for (_, it) in schema["$defs"].as_object_mut().unwrap() {
            if it.get("properties").is_some() {
                it["additionalProperties"] = false.into();
            }
        }
        Self::compile(&schema, name)
    }

    fn compile(schema: &Value, name: &str) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        let file = "https://alle.invalid/protocol.schema.json";
        compiler.add_resource(file, schema.clone()).unwrap();
        let definition = format!("{file}#/$defs/{name}");
        let index = compiler.compile(&definition, &mut schemas).unwrap();
        Self { schemas, index }
    }

    pub fn is_valid(&self, message: &Value) -> bool {
        self.schemas.validate(message, self.index).is_ok()
    }

    #[track_caller]
    fn check(&self, message: &Value) {
        if let Err(error) = self.schemas.validate(message, self.index) {
            panic!("not in docs/protocol.schema.json: {message}: {error:#}");
        }
    }
}

/// A message that a WebSocket received.
#[track_caller]
pub fn check_message(message: &Value) {
    MESSAGES.check(message);
}

/// The `data:` of an event, and the event's name.
#[track_caller]
pub fn check_event(name: &str, data: &Value) {
    EVENTS.check(data);
    let kind = &data["type"];
    assert!(
        if kind == "notification" {
            name.is_empty()
        } else {
            kind == name
        },
        "{name:?}: {data}"
    );
}

/// The body of the answer to a publish by HTTP.
#[track_caller]
pub fn check_answer(body: &Value) {
    ANSWERS.check(body);
}
