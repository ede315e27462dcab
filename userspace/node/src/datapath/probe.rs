/// A feature of the kernel that the datapath needs or uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature {
    /// Its name, as documentation has it.
    pub name: &'static str,
    /// Whether the datapath cannot do without.
    pub required: bool,
    /// Whether the kernel has it.
    pub present: bool,
}

/// What this kernel offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// Every feature looked for.
    pub features: Vec<Feature>,
}

impl Probe {
    /// The required features that are missing.
    pub fn missing(&self) -> impl Iterator<Item = &'static str> {
        self.features.iter().filter(|feature| feature.required && !feature.present).map(|feature| feature.name)
    }

    /// Whether the feature `name` is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature.name == name && feature.present)
    }
}

/// Asks the kernel for every feature; changes nothing.
#[must_use]
pub fn probe() -> Probe {
    todo!()
}
