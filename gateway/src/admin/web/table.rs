//! A table that is read as a list of cards on a telephone.

use maud::{Markup, html};

use super::words::prose;

/// A table with a title for each column. The first cell of a row is its header. The roles are written because
/// browsers drop them when the style sheet changes the display of a table.
pub(super) fn table(caption: &str, titles: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        table role="table" {
            caption { (prose(caption)) }
            thead role="rowgroup" {
                tr role="row" {
                    @for title in titles {
                        th scope="col" role="columnheader" { (title) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (number, (title, cell)) in titles.iter().zip(row).enumerate() {
                            @if number == 0 {
                                th scope="row" role="rowheader" data-title=(title) { div { (cell) } }
                            } @else {
                                td role="cell" data-title=(title) { div { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
