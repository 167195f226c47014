"""Find objects in a photo with an exported network: onnx_detect.py slim.onnx photo.jpg"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

_, file, picture = sys.argv if len(sys.argv) == 3 else sys.exit(__doc__)
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
said = session.get_modelmeta().custom_metadata_map
if not said.keys() >= {"input", "suppression"} or session.get_outputs()[0].name != "boxes":
    sys.exit(f"{file}: gives no boxes: write it with `yoloprune export NET --onnx FILE`")
about = {key: json.loads(value) for key, value in said.items()}
_, channels, height, width = session.get_inputs()[0].shape
photo = cv2.imread(picture, cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)
if photo is None:
    sys.exit(f"{picture}: no image, or none that OpenCV reads")
rows, columns = photo.shape[:2]
w, h = width, height
if about["input"]["resize"] == "letterbox":  # keep the aspect ratio, on gray
    w, h = min(width, columns * height // rows), min(height, rows * width // columns)
left, top = (width - w) // 2, (height - h) // 2
image = np.full((height, width, channels), 127.5, np.float32)
resized = cv2.resize(photo, (w, h)).reshape(h, w, channels)
image[top : top + h, left : left + w] = resized[..., ::-1]  # OpenCV's order is blue, green, red
boxes, scores = session.run(["boxes", "scores"], {"images": image.transpose(2, 0, 1)[None] / 255})
box, label = (scores[0] > 0.25).nonzero()  # a box may be of several classes
boxes, scores = boxes[0, box], scores[0, box, label]
boxes = (boxes - (left, top) * 2) * ((columns / w, rows / h) * 2)  # in the photo's pixels now
x_y_w_h = np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))
for i in cv2.dnn.NMSBoxesBatched(x_y_w_h, scores, label, 0.25, 0.45):
    name = about["names"][label[i]] if "names" in about else label[i]
    print(name, f"{scores[i]:.3f}", *boxes[i].clip(0, (columns, rows) * 2).round(1))
