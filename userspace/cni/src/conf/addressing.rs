use std::net::IpAddr;

use ipnet::IpNet;

use crate::{
    error::Error,
    fields::{Fields, required},
    result::Route,
};

/// `ipam` in host-local's terms: the sources of addresses and the container's routes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Addressing {
    /// One address is given from every set. An empty list means the node's own blocks, one address of each family
    /// they have.
    pub sets: Vec<RangeSet>,
    /// `routes`. An empty list means a default route for every family in which the container has an address.
    pub routes: Vec<Route>,
    /// `resolvConf`: a file whose name servers go to the result.
    pub resolv_conf: Option<String>,
}

/// Ranges of one family that are alternatives to each other; at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeSet {
    /// The alternatives, tried in order.
    pub ranges: Vec<Range>,
}

/// A part of a subnet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// `subnet`, without host bits.
    pub subnet: IpNet,
    /// `rangeStart`: the first address given; the subnet's first by default.
    pub start: Option<IpAddr>,
    /// `rangeEnd`: the last address given; the subnet's last by default.
    pub end: Option<IpAddr>,
    /// `gateway`: never given to a container. It need not exist, because naru's own containers use a link-local
    /// gateway, and it need not lie in the subnet.
    pub gateway: Option<IpAddr>,
}

impl Addressing {
    pub(super) fn take(mut ipam: Fields) -> Result<Self, Error> {
        let mut sets = Vec::new();
        if ipam.value_is_set("subnet") {
            sets.push(RangeSet { ranges: vec![Range::take(&mut ipam)?] });
        }
        sets.extend(self::sets(&mut ipam, "ranges")?);
        check_overlap(&sets).map_err(|why| ipam.error("ranges", why))?;
        let routes = ipam.objects("routes")?.into_iter().map(take_route).collect::<Result<_, _>>()?;
        let resolv_conf = ipam.take::<String>("resolvConf")?.filter(|path| !path.is_empty());
        // host-local's own directory: accepted so that its configurations fit, but without meaning here.
        ipam.take::<String>("dataDir")?;
        ipam.refuse_rest()?;
        Ok(Self { sets, routes, resolv_conf })
    }
}

/// The list of lists of ranges at `key`.
pub(super) fn sets(fields: &mut Fields, key: &str) -> Result<Vec<RangeSet>, Error> {
    let lists = fields.object_lists(key)?;
    let set = |(at, list): (usize, Vec<Fields>)| {
        let ranges = list.into_iter().map(|mut range| {
            let taken = Range::take(&mut range)?;
            range.refuse_rest()?;
            Ok(taken)
        });
        let set = RangeSet { ranges: ranges.collect::<Result<_, Error>>()? };
        set.check().map_err(|why| fields.error(&format!("{key}[{at}]"), why))?;
        Ok(set)
    };
    lists.into_iter().enumerate().map(set).collect()
}

impl Range {
    /// Takes the four keys out of `fields`, which may hold others.
    fn take(fields: &mut Fields) -> Result<Self, Error> {
        let subnet: Option<IpNet> = fields.parse("subnet")?;
        let subnet = required(fields, "subnet", subnet)?;
        if subnet.trunc() != subnet {
            let meant = subnet.trunc();
            return Err(fields.error("subnet", format_args!("{subnet} has host bits set; {meant} is meant?")));
        }
        let mut address = |key: &str| -> Result<Option<IpAddr>, Error> {
            let found: Option<IpAddr> = fields.parse(key)?;
            match found.filter(|ip| !subnet.contains(ip)) {
                Some(ip) => Err(fields.error(key, format_args!("{ip} is not in {subnet}"))),
                None => Ok(found),
            }
        };
        let (start, end) = (address("rangeStart")?, address("rangeEnd")?);
        // A gateway outside the subnet is one that the container reaches by a route of its own; host-local accepts it
        // too.
        let gateway: Option<IpAddr> = fields.parse("gateway")?;
        if let Some(ip) = gateway.filter(|ip| ip.is_ipv4() != subnet.network().is_ipv4()) {
            return Err(fields.error("gateway", format_args!("{ip} is of another family than {subnet}")));
        }
        let range = Self { subnet, start, end, gateway };
        if range.first() > range.last() {
            let (first, last) = (range.first(), range.last());
            return Err(fields.error("rangeEnd", format_args!("{last} is before rangeStart {first}")));
        }
        Ok(range)
    }

    /// The first address that may be given.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.start.unwrap_or_else(|| self.subnet.network())
    }

    /// The last address that may be given.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.end.unwrap_or_else(|| self.subnet.broadcast())
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.subnet.network().is_ipv4() == other.subnet.network().is_ipv4()
            && self.first() <= other.last()
            && other.first() <= self.last()
    }
}

impl RangeSet {
    fn check(&self) -> Result<(), String> {
        let first = self.ranges.first().ok_or("empty")?.subnet;
        let stranger =
            self.ranges.iter().find(|range| range.subnet.network().is_ipv4() != first.network().is_ipv4());
        match stranger {
            Some(range) => Err(format!("{first} and {} are of different families", range.subnet)),
            None => Ok(()),
        }
    }
}

pub(super) fn check_overlap(sets: &[RangeSet]) -> Result<(), String> {
    let all: Vec<&Range> = sets.iter().flat_map(|set| &set.ranges).collect();
    for (at, one) in all.iter().enumerate() {
        if let Some(other) = all.iter().skip(at + 1).find(|other| one.overlaps(other)) {
            return Err(format!(
                "{}-{} and {}-{} overlap",
                one.first(),
                one.last(),
                other.first(),
                other.last()
            ));
        }
    }
    Ok(())
}

fn take_route(mut fields: Fields) -> Result<Route, Error> {
    let dst: Option<IpNet> = fields.parse("dst")?;
    let route = Route {
        dst: required(&fields, "dst", dst)?,
        gw: fields.parse("gw")?,
        mtu: fields.take("mtu")?,
        advmss: fields.take("advmss")?,
        priority: fields.take("priority")?,
        table: fields.take("table")?,
        scope: fields.take("scope")?,
    };
    if route.gw.is_some_and(|gw| gw.is_ipv4() != route.dst.network().is_ipv4()) {
        return Err(fields.error("gw", "is of another family than dst"));
    }
    if route.scope.is_some_and(|scope| scope > 255) {
        return Err(fields.error("scope", "is over 255"));
    }
    fields.refuse_rest()?;
    Ok(route)
}
