//! Writes a report: the page, and its pictures as files.

use std::path::{Path, PathBuf};

use super::contents::{Figures, Judged, Report};
use super::multi_label::multi_label_sections;
use super::picture::Picture;
use super::regression::regression_sections;
use super::section::Section;
use super::{confusion_chart, epoch_charts, mistake_images, page, rate_chart};
use crate::error::{Error, Result};
use crate::files::remove_if_there;
use crate::infer::Answers;
use crate::write_file;

/// Name of the page.
const PAGE: &str = "report.html";
/// Name of the folder of pictures.
const PICTURES: &str = "report";
/// The pictures of images that have not one class.
const JUDGED: [&str; 3] = ["precision_recall.svg", "predicted.svg", "residuals.svg"];

impl Report {
    /// Writes `report.html` into a folder, and the pictures into a folder `report` beside it; gives
    /// the page's path. Folders are made if need be. Each file appears whole or not at all, the
    /// page last; a picture for which there is no data is left out, and that of an earlier report
    /// removed.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the run's figures contradict each other, and [`Error::Io`] if a
    /// folder or a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        self.check()?;
        let pictures = dir.join(PICTURES);
        std::fs::create_dir_all(&pictures).map_err(Error::io("create", &pictures))?;
        let charts = [
            ("loss.svg", epoch_charts::loss(self)?),
            ("accuracy.svg", epoch_charts::accuracy(self)?),
            ("rates.svg", rate_chart::draw(self)?),
            ("confusion.svg", confusion_chart::draw(self)?),
        ];
        for (name, chart) in &charts {
            let file = chart.as_ref().map(Picture::file).transpose()?;
            put(&pictures.join(name), file.as_deref().map(str::as_bytes))?;
        }
        let sections = self.judged_sections()?;
        for name in JUDGED {
            let pictures_of = sections.iter().filter_map(|own| own.picture.as_ref());
            let picture = pictures_of.into_iter().find(|(own, _)| *own == name);
            let file = picture.map(|(_, picture)| picture.file()).transpose()?;
            put(&pictures.join(name), file.as_deref().map(str::as_bytes))?;
        }
        let shown = mistake_images::surest(self);
        let sheet = mistake_images::sheet(&shown)?;
        put(&pictures.join("mistakes.png"), sheet.as_deref())?;

        let path = dir.join(PAGE);
        let charts = charts.map(|(_, chart)| chart);
        write_file(
            &path,
            page::html(self, &charts, &shown, &sections)?.as_bytes(),
        )?;
        Ok(path)
    }
}

impl Report {
    /// What is shown of images that have not one class.
    fn judged_sections(&self) -> Result<Vec<Section>> {
        let Some(Judged { figures, answers }) = &self.judged else {
            return Ok(Vec::new());
        };
        let Answers { scores, targets } = answers;
        match figures {
            Figures::Labels(own) => {
                multi_label_sections(own, scores, &answers.present(), &self.classes)
            }
            Figures::Numbers(own) => regression_sections(own, scores, targets, &self.classes),
        }
    }
}

/// Writes a file, or removes an old one if there is nothing to write.
fn put(path: &Path, contents: Option<&[u8]>) -> Result<()> {
    match contents {
        Some(contents) => write_file(path, contents),
        None => remove_if_there(path),
    }
}
