use ipnet::IpNet;

/// The parts of `nets` that lie in none of `excluded`, as the fewest networks.
#[must_use]
pub fn without(nets: &[IpNet], excluded: &[IpNet]) -> Vec<IpNet> {
    nets.iter().flat_map(|net| rest(net.trunc(), excluded)).collect()
}

fn rest(net: IpNet, excluded: &[IpNet]) -> Vec<IpNet> {
    if excluded.iter().any(|part| part.contains(&net)) {
        return Vec::new();
    }
    if !excluded.iter().any(|part| net.contains(part)) {
        return vec![net];
    }
    // A network with a part of it excluded is longer than one address.
    net.subnets(net.prefix_len() + 1).into_iter().flatten().flat_map(|half| rest(half, excluded)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(nets: &[&str], excluded: &[&str]) -> Vec<String> {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpNet>>();
        without(&parse(nets), &parse(excluded)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_excluded_is_cut_out_and_the_rest_stays_in_few_pieces() {
        assert_eq!(left(&["10.0.0.0/24"], &[]), ["10.0.0.0/24"]);
        assert_eq!(left(&["10.0.0.0/24"], &["10.0.0.0/25"]), ["10.0.0.128/25"]);
        assert_eq!(left(&["10.0.0.0/30"], &["10.0.0.1/32"]), ["10.0.0.0/32", "10.0.0.2/31"]);
        assert_eq!(left(&["10.0.0.0/24", "10.0.1.0/24"], &["10.0.0.0/16"]), [""; 0]);
        assert_eq!(left(&["10.0.0.0/24"], &["10.0.9.0/24", "fd00::/8"]), ["10.0.0.0/24"]);
        assert_eq!(left(&["fd00::/126"], &["fd00::/128", "fd00::3/128"]), ["fd00::1/128", "fd00::2/128"]);
        assert_eq!(left(&["10.32.0.0/12"], &["10.32.0.0/32"]).len(), 20);
    }
}
