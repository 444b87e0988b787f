model <- lm(dist ~ speed, data = cars)

#* @get /ready
function() list(ready = TRUE, unit = Sys.getenv("MODEL_UNIT"))

#* @get /predict
#* @param speed
function(speed) list(distance = predict(model, data.frame(speed = as.numeric(speed)))[[1]])
