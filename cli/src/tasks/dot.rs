//! A graph of tasks as Graphviz reads it: an arrow leads from what is needed to
//! what needs it, and is dashed where nothing waits.

use wire::dependency::{DependencyGraph, DependencyType};

use crate::output::one_line;

/// The whole graph, without a line's end behind it.
pub(super) fn render(graph: &DependencyGraph) -> String {
    let mut text = String::from("digraph tasks {\n  rankdir=LR;\n  node [shape=box];\n");
    for node in &graph.nodes {
        let label = quoted(&one_line(&node.label));
        text.push_str(&format!("  \"{}\" [label=\"{label}\\n{}\"];\n", node.id, node.status));
    }
    for edge in &graph.edges {
        let style = match edge.dependency_type {
            DependencyType::Hard => "",
            DependencyType::Soft => " [style=dashed]",
        };
        text.push_str(&format!("  \"{}\" -> \"{}\"{style};\n", edge.source, edge.target));
    }
    text.push('}');
    text
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_title_cannot_leave_its_label() {
        const A: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
        const B: &str = "0197f0a4-7d20-7b11-8f02-9a1c3e5d7f90";
        let graph = json!({
            "nodes": [
                { "id": A, "label": "say \"hi\"\\\n]; x", "status": "ready", "priority": 3 },
                { "id": B, "label": "b", "status": "completed", "priority": 3 },
            ],
            "edges": [{ "id": A, "source": B, "target": A, "dependency_type": "soft" }],
            "truncated": false,
        });
        let graph = serde_json::from_value(graph).expect("a graph as the API shows it");
        let expect = format!(
            "digraph tasks {{\n  rankdir=LR;\n  node [shape=box];\n  \"{A}\" [label=\"say \\\"hi\\\"\\\\ ]; x\\nready\"];\n  \
             \"{B}\" [label=\"b\\ncompleted\"];\n  \"{B}\" -> \"{A}\" [style=dashed];\n}}"
        );
        assert_eq!(render(&graph), expect);
    }
}
