//! NetworkPolicy as objects of the API say it: a table of cases, each judged by the objects and by compiled tables.

mod cases;
mod objects;
mod world;
