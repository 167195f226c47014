"""Find objects in a photo with an exported network: onnx_detect.py slim.onnx photo.jpg"""

import json
import sys

import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
_, channels, height, width = session.get_inputs()[0].shape
said = session.get_modelmeta().custom_metadata_map
if "input" not in said or "boxes" not in [output.name for output in session.get_outputs()]:
    sys.exit(f"{sys.argv[1]}: gives no boxes: write it with `yoloprune export NET --onnx FILE`")
about = {key: json.loads(value) for key, value in said.items()}
photo = cv2.imread(sys.argv[2], cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE)
if photo is None:
    sys.exit(f"{sys.argv[2]}: no image, or none that OpenCV reads")
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
boxes = (boxes - np.tile((left, top), 2)) * np.tile((columns / w, rows / h), 2)
border = np.tile((columns, rows), 2)  # boxes are in the photo's pixels now
x_y_w_h = np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))
for i in cv2.dnn.NMSBoxesBatched(x_y_w_h, scores, label, 0.25, 0.45):
    name = about["names"][label[i]] if "names" in about else label[i]
    print(name, f"{scores[i]:.3f}", *boxes[i].clip(0, border).round(1))
