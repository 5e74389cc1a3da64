#!/bin/bash
# R: data frames, models, strings, environments, garbage collection.
# shellcheck source=../support/lib.sh
. "$(dirname "$0")/../support/lib.sh"

need R Rscript
cat >work.R <<'R'
set.seed(1)
d <- data.frame(id = 1:20000, g = sample(letters, 20000, TRUE), x = rnorm(20000))
print(aggregate(x ~ g, d, mean)[1:5, ])
fit <- lm(x ~ g + I(id / 1000), d)
print(round(coef(fit)[1:4], 8))
m <- matrix(sample(1:9, 250000, TRUE), 500)
print(sum(m %*% m))
print(round(sum(solve(diag(200) * 3 + m[1:200, 1:200] / 1000)), 8))
words <- paste0(d$g, d$id %% 97, sep = "-")
print(head(sort(table(words), decreasing = TRUE), 5))
print(nchar(paste(gsub("[aeiou]", "<&>", words), collapse = "")))
e <- new.env()
for (i in 1:20000) assign(paste0("k", i %% 3000), rep(i, i %% 50), envir = e)
print(sum(unlist(lapply(ls(e), function(k) length(get(k, envir = e))))))
l <- lapply(1:300, function(i) numeric(i * 997 %% 100000))
invisible(gc())
print(sum(lengths(l)))
print(rawToChar(memDecompress(memCompress(charToRaw(strrep("xsigma ", 9)), "gzip"), "gzip")))
q <- sort(d$x, method = "radix")
print(format(quantile(q, c(.1, .5, .9)), digits = 10))
message("to stderr")
R
# R is a shell script that becomes the program.
same_output -e frames Rscript --vanilla work.R
finish
