use std::collections::HashMap;
use std::sync::LazyLock;

use poem::http::Method;

use super::route::{Route, Tag};
use super::routes::ROUTES;

/// Finds what answers a request, from the table of routes.
pub(super) struct Router {
    resources: Vec<Resource>,
    /// The resources without an id, by their paths.
    fixed: HashMap<&'static str, usize>,
    /// The others: what stands before the id, its name, and what stands behind it.
    with_id: Vec<(&'static str, &'static str, &'static str, usize)>,
}

/// A path and the routes that it has.
pub(super) struct Resource {
    pub(super) path: &'static str,
    /// The `Allow` header.
    pub(super) allow: &'static str,
    routes: Vec<&'static Route>,
}

/// What a path leads to.
#[derive(Clone, Copy)]
pub(super) struct Matched<'a> {
    /// Names the resource in metrics.
    pub(super) number: usize,
    pub(super) resource: &'static Resource,
    /// The name of the id in the path, and the text that stands for it.
    pub(super) id: Option<(&'static str, &'a str)>,
}

static ROUTER: LazyLock<Router> = LazyLock::new(|| Router::new(&ROUTES));

impl Router {
    /// The router of all routes.
    pub(super) fn all() -> &'static Self {
        &ROUTER
    }

    fn new(routes: &'static [Route]) -> Self {
        let mut router = Self {
            resources: Vec::new(),
            fixed: HashMap::new(),
            with_id: Vec::new(),
        };
        for route in routes {
            let known = router.resources.iter_mut();
            match known.into_iter().find(|known| known.path == route.path) {
                Some(resource) => resource.routes.push(route),
                None => router.add(route),
            }
        }
        for resource in &mut router.resources {
            let takes = |method| resource.routes.iter().any(|route| route.method == method);
            resource.allow = match (takes(Method::GET), takes(Method::POST)) {
                (true, true) => "GET, HEAD, POST",
                (true, false) => "GET, HEAD",
                (false, _) => "POST",
            };
        }
        router
    }

    fn add(&mut self, route: &'static Route) {
        let number = self.resources.len();
        match route.path.split_once('{') {
            None => {
                self.fixed.insert(route.path, number);
            }
            Some((before, rest)) => {
                let (name, behind) = rest.split_once('}').unwrap_or((rest, ""));
                self.with_id.push((before, name, behind, number));
            }
        }
        self.resources.push(Resource {
            path: route.path,
            allow: "",
            routes: vec![route],
        });
    }

    /// The paths of all resources, in the order of their numbers.
    pub(super) fn paths(&self) -> Vec<&'static str> {
        self.resources.iter().map(|one| one.path).collect()
    }

    /// What a path leads to.
    pub(super) fn find<'a>(&'static self, path: &'a str) -> Option<Matched<'a>> {
        // Some clients add a slash.
        let path = match path {
            "/api-docs/" | "/api/flash-sale/status/" => &path[..path.len() - 1],
            _ => path,
        };
        let (number, id) = match self.fixed.get(path) {
            Some(number) => (*number, None),
            None => self.with_id.iter().find_map(|(before, name, behind, at)| {
                let id = path.strip_prefix(before)?.strip_suffix(behind)?;
                (!id.is_empty() && !id.contains('/')).then_some((*at, Some((*name, id))))
            })?,
        };
        Some(Matched {
            number,
            resource: &self.resources[number],
            id,
        })
    }
}

impl Resource {
    /// The route of a method.
    pub(super) fn route(&self, method: &Method) -> Option<&'static Route> {
        let method = match *method {
            Method::HEAD => &Method::GET,
            _ => method,
        };
        let routes = self.routes.iter();
        routes.copied().find(|route| route.method == *method)
    }

    /// Whether it serves operators, rather than buyers.
    pub(super) fn is_service(&self) -> bool {
        self.routes.iter().all(|route| route.tag == Tag::Service)
    }
}

#[cfg(test)]
mod tests {
    use super::Router;

    #[test]
    fn a_path_leads_to_its_resource_and_id() {
        fn found(path: &str) -> Option<(&'static str, Option<(&'static str, &str)>)> {
            let found = Router::all().find(path);
            found.map(|found| (found.resource.path, found.id))
        }
        for id in ["7", "0", "-1", "one", "%31", "9223372036854775808"] {
            let path = format!("/api/flash-sale/attempt/{id}");
            let (path, text) = found(&path).expect("it is there");
            assert_eq!(path, "/api/flash-sale/attempt/{saleId}");
            assert_eq!(text, Some(("saleId", id)));
        }
        for path in ["/api-docs", "/api/flash-sale/status"] {
            assert_eq!(found(&format!("{path}/")), Some((path, None)));
        }
        for path in [
            "",
            "/",
            "/api/flash-sale/attempt",
            "/api/flash-sale/attempt/",
            "/api/flash-sale/attempt/1/",
            "/api/flash-sale/attempt/1/2",
            "/API/flash-sale/status",
            "/health/",
            "/api/flash-sale/status//",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn no_two_routes_are_taken_for_one_another() {
        let router = Router::all();
        for (number, path) in router.paths().into_iter().enumerate() {
            let path = path.replace(['{', '}'], "");
            let found = router.find(&path).expect("it is there");
            assert_eq!(found.number, number, "{path}");
        }
        for resource in &router.resources {
            for route in &resource.routes {
                let same = resource.routes.iter();
                let same = same.filter(|other| other.method == route.method);
                assert_eq!(same.count(), 1, "{} {}", route.method, route.path);
                let described = route.id.is_some();
                assert_eq!(described, route.path.contains('{'), "{}", route.path);
            }
        }
    }
}
