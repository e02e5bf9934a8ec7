//! Spans as a collector gets them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tracing_subscriber::layer::SubscriberExt as _;

use super::{Export, export};
use crate::config::Traces;
use crate::credentials::{Failure, Key};
use crate::fixture::{RULE, config, facts};
use crate::policy::{Decision, Policy, decide};
use crate::refusal::Refusal;
use crate::spans;

/// A collector that takes one batch; the batch comes out.
fn collector() -> (SocketAddr, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = Vec::new();
        loop {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).unwrap();
            bytes.extend_from_slice(&some[..read]);
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            if bytes.len() >= end + 4 + length {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
                sender.send((head, bytes[end + 4..].to_vec())).unwrap();
                return;
            }
        }
    });
    (address, receiver)
}

fn traces(collector: SocketAddr) -> Traces {
    Traces {
        collector,
        path: "/v1/traces".to_owned(),
        sample_percent: 100,
    }
}

/// Does something while spans are sent, and ends the sending.
fn traced(collector: SocketAddr, work: impl FnOnce()) {
    let (layer, export): (_, Export) = export(&traces(collector)).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    drop(export);
}

fn key() -> Key {
    let Decision::Grant(grant) = decide(&Policy::new(&config(RULE)), &facts()) else {
        panic!("refused")
    };
    Key::new(&grant)
}

/// Its name, and what it carries.
fn told(span: &Span) -> String {
    let each = span.attributes.iter().filter_map(|pair| {
        let value = pair.value.clone()?.value?;
        Some(format!("{} = {value:?}", pair.key))
    });
    let mut told: Vec<String> = each.collect();
    told.sort();
    told.insert(0, span.name.clone());
    told.join("\n")
}

#[test]
fn a_request_and_the_call_that_it_caused_are_two_traces_with_a_link() {
    let (address, batches) = collector();
    traced(address, || {
        let request = spans::request(&facts());
        let call = request.in_scope(|| spans::assume_role(&key()));
        call.in_scope(|| spans::tell_failure(Failure::TimedOut));
        spans::tell_answer(&request, Some("credentials"), Err(Refusal::Crowded));
        // An event of the log's is none of the spans'.
        request.in_scope(|| tracing::warn!(secret = "hunter2", "not for the collector"));
    });
    let (head, body) = batches.recv().unwrap();
    let first = head.lines().next();
    assert_eq!(first, Some("post /v1/traces http/1.1"));
    assert!(
        head.contains(&format!("host: {address}")) && head.contains("application/x-protobuf"),
        "{head}"
    );
    let batch = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let spans: Vec<Span> = batch
        .resource_spans
        .into_iter()
        .flat_map(|resource| resource.scope_spans)
        .flat_map(|scope| scope.spans)
        .collect();
    let [call, request] = spans.as_slice() else {
        panic!("{spans:?}")
    };
    assert_ne!(call.trace_id, request.trace_id);
    assert_eq!(call.links.first().map(|link| &link.span_id), Some(&request.span_id));
    assert!(call.events.is_empty() && request.events.is_empty());
    insta::assert_snapshot!(told(request), @r#"
    request
    container.id = StringValue("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")
    error.type = StringValue("crowded")
    http.response.status_code = IntValue(503)
    route = StringValue("credentials")
    "#);
    insta::assert_snapshot!(told(call), @r#"
    AssumeRole
    aws.role = StringValue("arn:aws:iam::123456789012:role/deploy")
    aws.session = StringValue("20-302-Ab3dEf9_x")
    error.type = StringValue("sts-timed-out")
    "#);
}

#[test]
fn a_collector_that_is_not_there_holds_nobody_up() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    traced(nobody, || drop(spans::request(&facts())));
}
