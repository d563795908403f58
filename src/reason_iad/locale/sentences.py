"""Sentences that reports keep in English, as they are made elsewhere, for translation where they are shown.

A sentence with {holes} stands for every sentence that fills them; what fills them is translated, too, where it is known.
`languages.told` finds them. Whoever writes a new note adds its sentence here, or writes it under `translatable`, which
takes an f-string, too; until then it is shown in English. Messages of errors and lines of the terminal need no mark.
"""

from __future__ import annotations

from reason_iad.languages import translatable

WORDS = (
    translatable("top left"), translatable("top center"), translatable("top right"), translatable("middle left"),
    translatable("center"), translatable("middle right"), translatable("bottom left"), translatable("bottom center"),
    translatable("bottom right"), translatable("normal"), translatable("defective"), translatable("uncertain"),
    translatable("defect"), translatable("standard"), translatable("process"), translatable("unknown"),
    translatable("scratch"), translatable("crack"), translatable("dent"), translatable("hole"), translatable("cut"),
    translatable("contamination"), translatable("stain"), translatable("mold"), translatable("missing part"),
    translatable("part"), translatable("Yes."), translatable("No."), translatable("black"), translatable("white"),
    translatable("of one gray"), translatable("strong"), translatable("clear"), translatable("faint"),
    translatable("viewer"), translatable("inspector"), translatable("admin"),
    translatable("brightness"), translatable("sharpness"), translatable("score"), translatable("red"),
    translatable("blue"), translatable("place x"), translatable("place y"),
    translatable("recognition"), translatable("vision"), translatable("answers"), translatable("details"),
    translatable("prefix"), translatable("naming"), translatable("offset"), translatable("read"), translatable("recognize"), translatable("nearest"),
    translatable("reference"), translatable("references"), translatable("{count} reference"),
    translatable("{count} references"), translatable("{count} good part"), translatable("{count} good parts"),
)  # fmt: skip

VERDICT = (
    translatable("Is there any defect in the object?"),
    translatable("What type of defect does the object have?"),
    translatable("Where in the image is the defect?"),
    translatable("Which description fits the defect best?"),
    translatable("No defect was found on the {part}."),
    translatable("Defect on the {part}: {kind}, {place}; {look}"),
    translatable("Possible defect on the {part}: {kind}, {place}; {look}"),
    translatable("Defect on the {part}: {kind}, {place}."),
    translatable("Possible defect on the {part}: {kind}, {place}."),
    translatable("Defect on the {part}: type not certain, perhaps {one} or {other}, {place}."),
    translatable("Defect on the {part}: type not certain, perhaps {one} or {other}, {place}; {look}"),
    translatable("Possible defect on the {part}: type not certain, perhaps {one} or {other}, {place}."),
    translatable("Possible defect on the {part}: type not certain, perhaps {one} or {other}, {place}; {look}"),
    translatable("Defect on the {part}: none of the known types, unlike all {count}, {place}."),
    translatable("Defect on the {part}: none of the known types, unlike all {count}, {place}; {look}"),
    translatable("Possible defect on the {part}: none of the known types, unlike all {count}, {place}."),
    translatable("Possible defect on the {part}: none of the known types, unlike all {count}, {place}; {look}"),
    translatable("none of these"),
    translatable("type not known"),
    translatable("type not certain"),
    translatable("type not certain, perhaps {one} or {other}"),
    translatable("place not certain"),
    translatable("Uncertain because {reason}; take the picture again, or check what it shows."),
    translatable(
        "Uncertain because model and comparison disagree: the model alone would say {model}, the comparison with good "
        "parts alone {comparison}; look at the part."
    ),
    translatable(
        "Uncertain because about {share} of good parts look at least this odd, as far as references tell: more than "
        "{rate}, the false-alarm rate asked for, and too few to call it normal."
    ),
    translatable(
        "Uncertain because the probability of a defect ({probability}) lies between {low} and {high}; look at the part, "
        "or give more normal references."
    ),
    translatable(
        "Uncertain because the comparison with good parts says {seen}, with the model it is {told} ({probability}); look "
        "at the part, or give more normal references."
    ),
    translatable(
        "The language model was not asked (--reason never); the verdict rests on the comparison with good parts."
    ),
    translatable(
        "Cleared by the comparison with good parts alone: whatever the language model had answered, the probability of a "
        "defect would be at most {most}, and up to {limit} is normal (a margin of {margin} in log-odds; the range of its "
        "answers is that of {images} images). It was not asked."
    ),
    translatable("not calibrated for this model: the mean of the log-odds of model and evidence"),
    translatable(
        "Platt scaling of the model's answer and the evidence on {images} images that trained nothing, {real} of them "
        "real (on those left out: calibration error {error}, AUROC {auroc}); other products may differ"
    ),
    translatable(
        "Platt scaling of the model's answer on {images} images that trained nothing, {real} of them real (on those left "
        "out: calibration error {error}, AUROC {auroc}); other products may differ"
    ),
    translatable(
        "the comparison and {share} of the model's log-odds: chosen on {images} training images of {products} products, "
        "most of which no weight was trained on (calibration error {error} beside {few} references, {other} beside "
        "{many}); other products may differ"
    ),
    translatable(
        "Platt scaling of the model's answer and the evidence on {images} images that trained nothing, {real} of them "
        "real (on lines and categories left out: calibration error {error}, AUROC {auroc}); other products may differ"
    ),
    translatable(
        "Platt scaling of the model's answer on {images} synthetic images that trained nothing (cross-fitted: "
        "calibration error {error}, AUROC {auroc}); real images may differ"
    ),
    translatable("eleven"),
    translatable("not calibrated for this model: no labels; the mean of the log-odds of model and evidence"),
    translatable(
        "not calibrated for this model: no labels; its log-odds of a defect on {images} images taken for good parts, "
        "{mean} on average, were subtracted"
    ),
    translatable("not calibrated in this form"),
    translatable("no model was asked: the anomaly score itself, 0.5 for one good part in twenty"),
    translatable("a panel of {models}; weights from the agreement of {known} images, without labels (Dawid and Skene)"),
    translatable(
        "a panel of {models}; equal weights: {known} images are known, {enough} and three voices are needed to tell them "
        "apart"
    ),
    translatable("{calibration}; the model's log-odds on {parts}, {mean} on average, were subtracted"),
    translatable("the anomaly score"),
    translatable("the measured place and look"),
    translatable("the knowledge of the category {category}"),
    translatable("the knowledge of learned categories, none of which it shows"),
    translatable("labeled examples of the category"),
    translatable("the nearest {kind} is {ratio} times as far"),
    translatable("the nearest {kind} is about as near"),
    translatable("the regions painted over"),
    translatable("only the regions left sharp"),
    translatable("without the comparison with good parts"),
    translatable("without the knowledge"),
    translatable("without the injected patches"),
    translatable("without the details read again"),
)

LOOKS = (
    translatable("{size} and {shape}, {tone} its surroundings."),
    translatable("{size} and {shape}, {tone} its surroundings"),
    translatable("{size} and {shape}, {tone} its surroundings, {bounds}."),
    translatable("{size} and {shape}, {tone} its surroundings but {hue}."),
    translatable("{size} and {shape}, {tone} its surroundings but {hue}, {bounds}."),
    translatable("{size} and {shape}, {direction}, {tone} its surroundings."),
    translatable("{size} and {shape}, {direction}, {tone} its surroundings, {bounds}."),
    translatable("{size} and {shape}, {direction}, {tone} its surroundings but {hue}."),
    translatable("{size} and {shape}, {direction}, {tone} its surroundings but {hue}, {bounds}."),
    translatable("A {size}, {shape} region, {tone} its surroundings."),
    translatable("a {size}, {shape} region, {tone} its surroundings."),
    translatable("tiny"), translatable("small"), translatable("large"), translatable("elongated"),
    translatable("compact"), translatable("darker than"), translatable("brighter than"),
    translatable("about as bright as"), translatable("{tone} and {hue} than"), translatable("darker"),
    translatable("brighter"), translatable("redder"), translatable("yellower"), translatable("greener"),
    translatable("bluer"), translatable("level"), translatable("upright"), translatable("diagonal"),
    translatable("sharply bounded"), translatable("with a gradual border"), translatable("at the edge of the image"),
    translatable("sharply bounded, at the edge of the image"),
    translatable("with a gradual border, at the edge of the image"),
)  # fmt: skip

EVIDENCE = (
    translatable("Compared with {count} normal references: differs at {places} (score {score})."),
    translatable("Compared with {count} normal reference: differs at {places} (score {score})."),
    translatable("Compared with {count} normal references: no area differs more than normal parts do (score {score})."),
    translatable("Compared with {count} normal reference: no area differs more than normal parts do (score {score})."),
    translatable(
        "Compared with {count} normal references: no area differs more than normal parts do (score {score}); the oddest "
        "is at {place} (weak)."
    ),
    translatable(
        "Compared with {count} normal reference: no area differs more than normal parts do (score {score}); the oddest "
        "is at {place} (weak)."
    ),
    translatable("{place} ({strength}), {second} ({second_strength}), {third} ({third_strength})"),
    translatable("{place} ({strength}), {second} ({second_strength})"),
    translatable("{place} (strong)"),
    translatable("{place} (clear)"),
    translatable("{place} (faint)"),
    translatable("{share} of normal parts look at least this odd."),
    translatable("Odder than each of the {count} references beside the others."),
    translatable("{odd} of the {count} references look at least this odd beside the others."),
    translatable("The reference shows this very object, so the image was compared with it pixel by pixel."),
    translatable(
        "No normal references were given, so nothing was compared; the verdict rests on the model alone. Add --reference "
        "with images of good parts."
    ),
    translatable(
        "No known good part was given: the images of the lot were compared with each other. A defect that many of them "
        "share cannot be seen that way."
    ),
    translatable(
        "A false-alarm rate of {rate} cannot be promised with {references}: from {least} on, every second one is held out "
        "to check it, and {needed} promise it."
    ),
    translatable(
        "{normals} held-out normals support a false-alarm rate of {rate}: on average at most {stopped} of 1000 good parts "
        "from the same production are stopped."
    ),
    translatable(
        "{normals} held-out normals cannot promise a false-alarm rate of {rate}; the smallest they support is {smallest}: "
        "show at least {needed} normal images."
    ),
    translatable(
        "{normals} held-out normals support a false-alarm rate of {rate}: on average at most {stopped} of 1000 good parts "
        "from the same production are stopped"
    ),
    translatable(
        "{normals} held-out normals cannot promise a false-alarm rate of {rate}; the smallest they support is {smallest}: "
        "show at least {needed} normal images"
    ),
    translatable("The false-alarm rate of this profile is {rate}, set by {who} on {day}."),
    translatable(
        "There is one reference only, so normal variation was estimated from altered copies of it; show more if you can."
    ),
    translatable("The {count} references do not resemble each other; show good parts of one product only."),
    translatable(
        "Of {count} references, number {number} resembles none of the others; it may show another product: check it."
    ),
    translatable(
        "Of {count} references, number {number} is {times} times as odd as the others usually are; it may show a defect: "
        "check it."
    ),
    translatable(
        "Of {count} references, number {number} has other proportions than most; all are stretched to a square: show "
        "images of one camera and one cut."
    ),
    translatable(
        "{many} of the {count} images differ from the others in the same way: they may be another kind of part, or a "
        "defect that many share, which mutual scoring cannot tell; compare with known good parts."
    ),
    translatable("Learned category {category}: {note}"),
    translatable("0.5 means that about one good part in twenty looks at least this odd, as far as the references tell"),
    translatable("the image is blank ({tone}): nothing can be seen on it"),
    translatable("{share} of the image is saturated {tone}: hardly anything can be seen on it"),
    translatable("{share} of the image is white, far more than on any reference: it is over-exposed"),
    translatable("the image is much darker than the references"),
    translatable("the image is much brighter than the references"),
    translatable("the image is much paler than the references: over-exposed, or behind glare or fog"),
    translatable("the image is without the detail of the references: out of focus, or another picture"),
    translatable("the image is far rougher than the references: noise, or another picture"),
    translatable("the image is without the fine detail of the references: out of focus, or another size"),
    translatable("the image is far noisier than the references"),
    translatable("a color is saturated on {share} of the image, beyond any reference: it is over-exposed"),
    translatable("the image is brighter all over than any reference: over-exposed, or another picture"),
    translatable("the image is blurred beside the references: out of focus, or at another size"),
    translatable("the image is of finer grain than the references: noise, or at another size"),
    translatable("it does not resemble the references: it may show another product, or this one at another size"),
    translatable("it does not resemble its template even after registration: it may show another object"),
    translatable(
        "The model {name} runs on a server, which gives no access to its inside: latent reasoning and injection, which "
        "need it, were off. Knowledge, evidence and report are as for any model."
    ),
)

IMAGES = (  # within notes that `extract.py` reads off the source
    translatable("{image} has more than 8 bits a channel; values {low} to {high} were mapped to 0 to 255 ({reason})"),
    translatable(
        "{image} has more than 8 bits a channel; values {low} to {high} were mapped to 0 to 255 ({reason}); {share} % of "
        "them lie above and became white"
    ),
    translatable("as its references are read"), translatable("integer"), translatable("float"),
    translatable("a TIFF of a layout that is not read here"),
    translatable("a BigTIFF of a layout that is not read here"),
    translatable("a raw mosaic of color filters"), translatable("raw values of a camera"),
    translatable("a camera's raw file (DNG)"), translatable("a compression (number {number}) of {bands} bands"),
    translatable("bands of {bits} bits and mixed kinds"), translatable("values of {bits} bits of kind {kind}"),
    translatable("color of {bands} bands"),
)  # fmt: skip

SERVED = (  # how a model on a server was asked, and what it said
    translatable("The server takes one picture a message: references and image were sent one by one."),
    translatable("The server takes one picture alone: it was shown the image, not the references."),
    translatable("set {variable} to a key that it accepts"),
    translatable("its account has no credit left: fill it up, or ask another server"),
    translatable("set {variable} to a key that may use {model}"),
    translatable("check {variable} (it usually ends in /v1) and the model's name {model}"),
    translatable("check the model's name {model}"),
    translatable("the pictures are too large for it: use fewer references"),
    translatable("check that the model reads pictures and that the prompt fits its context"),
    translatable("{where} answered with an error, inside a 200 ({words}); {advice}"),
    translatable("{where} answered {status} ({words}); {advice}"),
)

LABELS = (  # of exports of labels: what was converted or left out
    translatable("{areas} drawn as rotated boxes: the upright box around each is taken"),
    translatable("{areas} drawn as polygons: the upright box around each is taken"),
    translatable("{areas} drawn as ellipses: the upright box around each is taken"),
    translatable("{areas} painted with a brush, which this export keeps compressed: left out; export them as COCO"),
    translatable("{areas} name a whole image: the comparison finds the area"),
    translatable("{areas} of an image or a category that the file does not list: left out"),
    translatable("{areas} without a box that can be read: left out"),
    translatable("{areas} tasks without an annotation: left out"),
    translatable("{areas} on lines that are no YOLO label, or of a class without a name: left out"),
    translatable("{areas} called {name}, which is no defect: left out"),
    translatable("{areas} with a number that is not finite: left out"),
    translatable("{areas} left out: {error}"),
)

RECORD = (  # what the record keeps of inspections that failed, and of feedback
    translatable("The program stopped during this inspection; inspect the image again."),
    translatable(
        "The server ended twice during this inspection; look at the image and the servers, then inspect it again."
    ),
    translatable("it took longer than {seconds} s and was stopped"),
    translatable("out of memory; use smaller images or fewer workers"),
    translatable("the model process stopped; it is being started again"),
    translatable("Kept."),
    translatable("There is no profile of {category} yet that could learn from it."),
    translatable("Kept, but the profile of {category} did not learn from it: {error}"),
    translatable(
        "The profile of {category} is now version {version} and knows {normals} good and {defectives} defective images."
    ),
    translatable("The comment mentions {names} and may say what it is not: no example was made; name it under Label."),
    translatable("The comment mentions {names} and names several: no example was made; name it under Label."),
    translatable("Understood: {kind}; no example was made: {error}"),
    translatable("Understood: {kind}."),
    translatable("The odd area is now an example of it; {category} has {count}."),
    translatable("The examples of {category} are now version {version}."),
    translatable("the name is taken back"),
    translatable("learned from {count} of good parts"),
    translatable("{image} added as {label}"),
    translatable("{image} removed"),
    translatable("{image} ({kind}) removed"),
    translatable("{count} added: {types}"),
    translatable("taken back: {last}"),
)

LINE = (  # what a line says of itself
    translatable("line started: {detail}"), translatable("line stopped"), translatable("camera lost: {detail}"),
    translatable("camera back"), translatable("camera back: {detail}"), translatable("after {failures} attempts"),
    translatable("drift cleared: {detail}"),
    translatable("version {version} of the profile is there; drift is watched anew"),
    translatable("the alarm was acknowledged; drift is watched anew"),
)  # fmt: skip

KINDS = (
    translatable("a PDF document"), translatable("a ZIP archive"), translatable("a gzip archive"), translatable("a film"),
    translatable("a 7-Zip archive"), translatable("a RAR archive"), translatable("a program"), translatable("a web page"),
    translatable("a text with markup"), translatable("an SVG drawing"), translatable("an XML document"),
    translatable("an SVG drawing, which may hold programs"), translatable("a raw photo"), translatable("a raw photo (CR3)"),
    translatable("a HEIC image"), translatable("a HEIF image"), translatable("a NumPy array"), translatable("an HDF5 file"),
    translatable("a PAM image"), translatable("a JPEG XL image"), translatable("a JPEG XR image"),
    translatable("an OpenEXR image"), translatable("a Photoshop document"), translatable("a Radiance HDR image"),
    translatable("a FITS image"), translatable("a DICOM image"), translatable("a RIFF file of another kind than WebP"),
    translatable("a whole number"), translatable("a number"), translatable("a text"), translatable("{kind} above {low}"),
    translatable("{kind} from {low} on"), translatable("{kind} between {low} and {high}"),
    translatable("{kind} from {low} to {high}"), translatable("none"),
)  # fmt: skip

LEFT_OUT = (
    translatable("{count} hidden file"),
    translatable("{count} hidden files"),
    translatable("{count} hidden folder"),
    translatable("{count} hidden folders"),
    translatable("{count} broken link"),
    translatable("{count} broken links"),
    translatable("{count} no regular file"),
    translatable("{count} that are no regular files"),
    translatable("{count} file without an ending"),
    translatable("{count} files without an ending"),
    translatable("{count} report folder"),
    translatable("{count} report folders"),
    translatable("{count} link to a folder that was looked through already"),
    translatable("{count} links to folders that were looked through already"),
    translatable("{count} folder that was looked through already"),
    translatable("{count} folders that were looked through already"),
    translatable("{count} folder that cannot be looked into"),
    translatable("{count} folders that cannot be looked into"),
    translatable("{count} image that was named twice"),
    translatable("{count} images that were named twice"),
    translatable("{count} {suffix} (cannot be read here)"),
)

COMMAND_LINE = (
    translatable("usage: "), translatable("options"), translatable("positional arguments"),
    translatable("show this help message and exit"), translatable("show program's version number and exit"),
    translatable("argument {name}: {message}"), translatable("unrecognized arguments: {arguments}"),
    translatable("the following arguments are required: {names}"), translatable("not allowed with argument {name}"),
    translatable("one of the arguments {names} is required"), translatable("expected one argument"),
    translatable("expected at most one argument"), translatable("expected at least one argument"),
    translatable("ambiguous option: {option} could match {matches}"), translatable("invalid {kind} value: {given}"),
    translatable("invalid choice: {given} (choose from {choices})"), translatable("ignored explicit argument {given}"),
)  # fmt: skip
