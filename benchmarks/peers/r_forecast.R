# R's forecast package on many series:
#   Rscript r_forecast.R IN.csv OUT.csv TIMING.json METHOD HORIZON SEASON CORES
# IN.csv: unique_id, y (oldest first). METHOD: ets, arima, theta, or a fixed order as arima,p,d,q,P,D,Q.
# OUT.csv: a row a series with model, log-likelihood, AICc, seconds, point forecasts and bounds of the 80 % interval.
suppressMessages({
  library(forecast)
  library(parallel)
})
args <- commandArgs(TRUE)
method <- args[4]
horizon <- as.integer(args[5])
season <- as.integer(args[6])
cores <- as.integer(args[7])
data <- read.csv(args[1], stringsAsFactors = FALSE, colClasses = c(unique_id = "character"))
series <- lapply(split(data$y, data$unique_id), ts, frequency = season)
ids <- sort(names(series), method = "radix")
order <- as.integer(strsplit(method, ",")[[1]][-1])

estimate <- function(y) {
  if (method == "ets") return(ets(y))
  if (method == "arima") return(auto.arima(y))
  if (length(order)) return(Arima(y, order = order[1:3], seasonal = order[4:6]))
  NULL
}

# p d q P D Q and the number of other coefficients (mean, drift), or the name of an ets
form <- function(fit) {
  if (is.null(fit)) return(method)
  if (method == "ets") return(fit$method)
  a <- fit$arma
  paste(a[1], a[6], a[2], a[3], a[7], a[4], length(fit$coef) - sum(a[1:4]))
}

digits <- function(values, n) paste(signif(as.numeric(values), n), collapse = " ")

one <- function(id) {
  y <- series[[id]]
  start <- proc.time()[[3]]
  fit <- tryCatch(estimate(y), error = function(e) NULL)
  ahead <- tryCatch(
    if (method == "theta") thetaf(y, h = horizon, level = 80) else forecast(fit, h = horizon, level = 80),
    error = function(e) list(mean = NA, lower = NA, upper = NA)
  )
  seconds <- proc.time()[[3]] - start
  data.frame(
    id = id, model = form(fit), loglik = if (is.null(fit)) NA else as.numeric(fit$loglik),
    aicc = if (is.null(fit)) NA else fit$aicc, seconds = round(seconds, 3),
    mean = digits(ahead$mean, 8), lower = digits(ahead$lower, 6), upper = digits(ahead$upper, 6)
  )
}

start <- proc.time()[[3]]
rows <- mclapply(ids, one, mc.cores = cores)
seconds <- proc.time()[[3]] - start
write.csv(do.call(rbind, rows), args[2], row.names = FALSE)
cat(sprintf(
  '{"peer": "R forecast", "version": "%s", "platform": "%s", "method": "%s", "series": %d, "cores": %d, "seconds": %.3f, "warm_up": 0.0}\n',
  packageVersion("forecast"), R.version.string, method, length(ids), cores, seconds
), file = args[3])
