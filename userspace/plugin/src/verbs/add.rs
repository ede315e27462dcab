use std::path::PathBuf;

use naru_cni_types::{Code, Error, NetworkConf, Target};
use naru_node::{
    endpoint::{self, AttachError, Attached, Spec},
    init::{self, NodeFacts, Request, Standalone},
    paths::Paths,
};

use super::tools;
use crate::{answer, cause, clock, setting};

/// Attaches the target and says what it got.
pub(super) fn add(conf: &NetworkConf, target: &Target, netns: PathBuf) -> Result<String, Error> {
    let standalone = setting::standalone(conf)?;
    let addressing = setting::addressing(conf)?;
    answer::check_resolv_conf(addressing)?;
    let paths = setting::paths(&conf.network.naru);
    let node = init::ensure(&paths, standalone.as_ref()).map_err(|error| cause::of_init(&error))?;
    let spec = setting::spec(conf, target, netns, &node)?;
    let attached = match attach(&paths, &node, &spec) {
        Err(error) if cause::asks_for_init(&error.cause) => renew(&paths, standalone, &spec)?,
        result => result.map_err(|error| cause::of_attach(&error))?,
    };
    let result = answer::result(conf, addressing, &spec.netns, &attached);
    result.to_json(conf.network.version).map_err(|why| Error::new(Code::InvalidConfig, why))
}

fn attach(paths: &Paths, node: &NodeFacts, spec: &Spec) -> Result<Attached, AttachError> {
    let mut tools = tools(paths, node).map_err(|cause| AttachError {
        subject: spec.subject(),
        cause: Box::new(cause),
        undo: Vec::new(),
    })?;
    endpoint::attach(&mut tools, node, spec, clock::now())
}

/// Makes the node ready anew, then attaches: the store or the pins went away under a node that looked ready.
fn renew(paths: &Paths, standalone: Option<Standalone>, spec: &Spec) -> Result<Attached, Error> {
    let request = Request { standalone, ..Request::default() };
    let ready = init::run(paths, &request).map_err(|error| cause::of_init(&error))?;
    attach(paths, &ready.facts, spec).map_err(|error| cause::of_attach(&error))
}
