use aya::programs::{
    ProgramInfo, SchedClassifier,
    TcAttachType::{self, Egress, Ingress},
};
use naru_netlink::tc::Filter;

use crate::{Result, filters, program};

/// Everything that sees the packets of one direction of a device, in the order in which it sees them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramChain {
    /// `ingress` or `egress`.
    pub direction: &'static str,
    /// The tcx programs, then the filters of a clsact qdisc.
    pub members: Vec<Member>,
}

/// A program or filter of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Name of the program; kind and priority of a filter without one.
    pub name: String,
    /// True if it is a program of ours, of whatever build.
    pub ours: bool,
}

impl ProgramChain {
    /// The programs that see packets before naru's; all of them if naru has none.
    #[must_use]
    pub fn before(&self) -> &[Member] {
        let ours = self.members.iter().position(|member| member.ours);
        self.members.get(..ours.unwrap_or(self.members.len())).unwrap_or_default()
    }

    /// The programs that see only packets that naru's program passes on.
    #[must_use]
    pub fn after(&self) -> &[Member] {
        let ours = self.members.iter().rposition(|member| member.ours);
        ours.and_then(|at| self.members.get(at + 1..)).unwrap_or_default()
    }

    /// The number of naru's programs.
    #[must_use]
    pub fn ours(&self) -> usize {
        self.members.iter().filter(|member| member.ours).count()
    }
}

/// The chains of `interface`, of both directions.
///
/// # Errors
/// The kernel's; `ENODEV` where there is no such interface.
pub fn chains(interface: &str) -> Result<[ProgramChain; 2]> {
    let chain = |direction, attach| Ok(ProgramChain { direction, members: members(interface, attach)? });
    Ok([chain("ingress", Ingress)?, chain("egress", Egress)?])
}

fn members(interface: &str, direction: TcAttachType) -> Result<Vec<Member>> {
    let filters = filters::list(interface, direction)?;
    // A kernel without tcx has no such chain.
    let links = SchedClassifier::query_tcx(interface, direction).map(|(_, links)| links).unwrap_or_default();
    let by_filter = |filter: &Filter| match filter.program.and_then(program::loaded) {
        Some(info) => member(&info),
        None => Member { name: format!("{} priority {}", filter.kind, filter.priority), ours: false },
    };
    Ok(links.iter().map(member).chain(filters.iter().map(by_filter)).collect())
}

fn member(info: &ProgramInfo) -> Member {
    Member { name: name(info), ours: program::is_ours(info) }
}

fn name(program: &ProgramInfo) -> String {
    match program.name_as_str() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => format!("program {}", program.id()),
    }
}
