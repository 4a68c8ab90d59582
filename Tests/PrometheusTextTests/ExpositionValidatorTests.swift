import Testing

/// The judge must be able to say no, or what it passes means nothing.
struct ExpositionValidatorTests {
  @Test func `what Prometheus documents as valid passes`() throws {
    let exposed = try Exposed(
      """
      # HELP answers_total A \\\\ and a \\n.
      # TYPE answers_total counter
      answers_total{status="202",path="a\\"b\\\\c\\nd"} 3
      answers_total 1.5e+07
      # TYPE seconds histogram
      seconds_bucket{le="0.5"} 1
      seconds_bucket{le="+Inf"} 2
      seconds_sum 1.25
      seconds_count 2
      # TYPE age gauge
      age NaN

      """)
    #expect(exposed.value("answers_total", ["status": "202", "path": "a\"b\\c\nd"]) == 3)
    #expect(exposed.help["answers_total"] == "A \\ and a \n.")
    #expect(exposed.value("seconds_bucket", ["le": "+Inf"]) == 2)
  }

  @Test(arguments: [
    "a 1\n",
    "# TYPE a counter\na 1",
    "# TYPE a counter\na -1\n",
    "# TYPE a counter\na 1\na 1\n",
    "# TYPE a counter\na 1\n\n",
    "# TYPE a counter\nb 1\n",
    "# TYPE a counter\na 1\n# TYPE b gauge\nb 1\na{x=\"1\"} 1\n",
    "# TYPE a counter\na 1\n# TYPE a counter\na{x=\"1\"} 1\n",
    "# TYPE a counter\na one\n",
    "# TYPE a counter\na{x=\"1\",x=\"2\"} 1\n",
    "# TYPE a counter\na{x=1} 1\n",
    "# TYPE a counter\na{x=\"1} 1\n",
    "# TYPE a counter\na{x=\"\\q\"} 1\n",
    "# TYPE a counter\na{x-y=\"1\"} 1\n",
    "# TYPE a counter\na{__x=\"1\"} 1\n",
    "# TYPE a-b counter\na-b 1\n",
    "# TYPE 1a counter\n1a 1\n",
    "# TYPE a counter\n",
    "# TYPE a counter\na inf\n",
    "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_sum 1\na_count 1\n",
    "# TYPE a histogram\na_bucket{le=\"1\"} 2\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
    "# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 2\n",
    "# TYPE a histogram\na_bucket{le=\"2\"} 1\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 1\na_sum 1\na_count 1\n",
    "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 1\n",
    "# TYPE a histogram\na_bucket 1\na_sum 1\na_count 1\n",
  ]) func `what isn't valid doesn't pass`(text: String) {
    #expect(throws: InvalidExposition.self) { try Exposed(text) }
  }
}
