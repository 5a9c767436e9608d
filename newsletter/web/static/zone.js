// Guesses the time zone where none is chosen yet; it can be changed.
const zone = document.getElementById("timezone");
if (zone && !zone.value) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
