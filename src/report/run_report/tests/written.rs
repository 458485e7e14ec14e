//! Reports that were written, and what holds for each of them.

use std::fs;
use std::path::PathBuf;

use crate::preprocess::Image;
use crate::report::run_report::contents::{EpochLine, Report};

use super::markup::{Element, decode_base64};

const SECTIONS: [&str; 8] = [
    "curves",
    "rates",
    "epochs",
    "confusion",
    "classes",
    "mistakes",
    "configuration",
    "environment",
];

pub const CHARTS: [&str; 4] = ["loss.svg", "accuracy.svg", "rates.svg", "confusion.svg"];

pub fn owned(text: &str) -> String {
    text.to_owned()
}

pub fn image(height: usize, width: usize, channels: usize) -> Image {
    let pixels = (0..height * width * channels).map(|i| (i * 37 % 251) as u8);
    Image::new(height, width, channels, pixels.collect()).unwrap()
}

pub fn epochs(number: usize) -> Vec<EpochLine> {
    (1..=number)
        .map(|epoch| {
            let x = epoch as f64;
            EpochLine {
                epoch,
                train_loss: 1.0 / x + 0.1,
                train_accuracy: 1.0 - 0.5 / x,
                valid_loss: 1.1 / x + 0.2,
                valid_accuracy: 1.0 - 0.6 / x,
                ema_accuracy: None,
                seconds: 61.5,
                images_per_second: 1234.4,
                figures: Vec::new(),
                note: None,
            }
        })
        .collect()
}

/// A report in a folder of its own.
pub struct Written {
    pub dir: tempfile::TempDir,
    pub page: String,
}

impl Written {
    pub fn new(report: &Report) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = report.write(dir.path()).unwrap();
        assert_eq!(path, dir.path().join("report.html"));
        let page = fs::read_to_string(path).unwrap();
        let written = Self { dir, page };
        written.check();
        written
    }

    pub fn picture(&self, name: &str) -> PathBuf {
        self.dir.path().join("report").join(name)
    }

    pub fn chart(&self, name: &str) -> String {
        fs::read_to_string(self.picture(name)).unwrap()
    }

    /// What holds for every report, whatever it shows.
    fn check(&self) {
        let page = Element::parse(&self.page);
        let ids: Vec<&str> = page
            .all("section")
            .iter()
            .map(|s| s.attribute("id"))
            .collect();
        assert_eq!(ids, SECTIONS);
        for section in page.all("section") {
            assert_eq!(section.all("h2").len(), 1);
            assert!(!section.text().trim().is_empty());
        }
        let mut all_ids: Vec<&str> = page.everything().filter_map(|e| e.maybe("id")).collect();
        let number = all_ids.len();
        all_ids.sort_unstable();
        all_ids.dedup();
        assert_eq!(all_ids.len(), number, "ids are not unique");
        check_safety(&page);
        for table in page.all("table") {
            assert_eq!(table.all("caption").len(), 1);
            let columns = table.all("thead")[0].all("th");
            assert!(columns.iter().all(|th| th.attribute("scope") == "col"));
            for row in table.all("tbody")[0].all("tr") {
                assert_eq!(row.children().count(), columns.len());
                let head = row.children().next().unwrap();
                assert_eq!((head.name.as_str(), head.attribute("scope")), ("th", "row"));
            }
        }
        for name in CHARTS
            .into_iter()
            .filter(|name| self.picture(name).exists())
        {
            let chart = Element::parse(&self.chart(name));
            let svg = chart.children().next().unwrap();
            assert_eq!(svg.attribute("xmlns"), "http://www.w3.org/2000/svg");
            assert_eq!(svg.all("desc").len(), 1);
            check_safety(&chart);
            for element in chart.everything() {
                for (name, value) in &element.attributes {
                    let numeric = ["x", "y", "width", "height", "cx", "cy", "d", "viewBox"];
                    if numeric.contains(&name.as_str()) {
                        let odd = value.contains("NaN") || value.contains("inf");
                        assert!(!odd, "{name}={value}");
                    }
                }
            }
        }
        // No temporary files stay.
        let files = fs::read_dir(self.dir.path()).unwrap().count();
        assert_eq!(files, 2);
    }

    pub fn rows(&self, section: &str, table: &str) -> Vec<Vec<String>> {
        rows(&Element::parse(&self.page), section, table)
    }
}

/// Nothing is loaded or run.
fn check_safety(root: &Element) {
    for element in root.everything() {
        let name = element.name.as_str();
        let forbidden = [
            "script", "link", "iframe", "object", "embed", "base", "form",
        ];
        assert!(!forbidden.contains(&name), "<{name}>");
        for (key, value) in &element.attributes {
            assert!(!key.starts_with("on"), "{key}");
            match key.as_str() {
                "src" => assert!(value.starts_with("data:image/png;base64,")),
                "href" if name == "image" => assert!(value.starts_with("data:image/png;base64,")),
                "href" => assert!(value.starts_with('#'), "{value}"),
                "style" => assert!(!value.contains("url("), "{value}"),
                _ => {}
            }
        }
        if name == "style" {
            let text = element.text();
            assert!(!text.contains("url(") && !text.contains("@import"));
        }
        if name == "img" {
            assert!(!element.attribute("alt").is_empty());
        }
        if name == "svg" {
            assert_eq!(element.attribute("role"), "img");
        }
    }
}

/// The text of each cell of the body of a table.
fn rows(page: &Element, section: &str, table: &str) -> Vec<Vec<String>> {
    let sections = page.all("section");
    let section = sections.iter().find(|s| s.attribute("id") == section);
    let tables = section.unwrap().all("table");
    let table = tables.iter().find(|t| t.attribute("class") == table);
    let body = table.unwrap().all("tbody")[0];
    let cells = |row: &&Element| row.children().map(Element::text).collect();
    body.all("tr").iter().map(cells).collect()
}

/// The pictures of a section's mistakes.
pub fn mistake_pictures(page: &str) -> Vec<Image> {
    let page = Element::parse(page);
    let images = page.all("img").into_iter().map(|img| {
        let data = img.attribute("src").strip_prefix("data:image/png;base64,");
        Image::decode(&decode_base64(data.unwrap()), "mistake").unwrap()
    });
    images.collect()
}
